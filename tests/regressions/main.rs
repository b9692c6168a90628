//! What once went wrong where layers meet each other or the wire. What went wrong in one layer stands beside it.
#![allow(clippy::unwrap_used, reason = "a helper that cannot go on fails its test")]

mod fallback_promised_a_body;
mod queue_opened_the_breaker;
mod stranger_opened_the_breaker;
mod timeout_passed_for_an_answer;
mod whole_answers_were_settled_as_dropped;
