//! The little that three or more layers need.
//!
//! A layer that is copied into another code base takes this folder along; nothing here knows any layer.

mod body;
mod client;
mod clock;
mod cold_drop;
mod context;
mod deadline;
mod grpc;
mod head;
mod json;
mod no_answer;
mod problem;
mod refusal;
mod retry_after;
mod sends;
#[allow(unused_imports, reason = "a build with few layers leaves some of these without a user")]
pub(crate) mod sync;

pub use self::{
    body::{End, ResponseBody, Unwatched, Watch},
    client::{CidrError, PeerAddr, TrustedProxies},
    context::{Flag, Notes, RequestId},
    deadline::Deadline,
    grpc::speaks_grpc,
    no_answer::NoAnswer,
    problem::{Member, Problem},
    refusal::Refusal,
    retry_after::retry_after_of,
};

#[cfg(test)]
#[allow(unused_imports, reason = "a build with few layers leaves some of these without a user")]
pub(crate) use self::clock::tests::wall_follows;
#[allow(unused_imports, reason = "a build with few layers leaves some of these without a user")]
pub(crate) use self::{
    body::Said,
    clock::wall_now,
    cold_drop::ColdDrop,
    context::{Context, Noted},
    deadline::THIRTY_YEARS,
    grpc::{GrpcStatus, is_grpc},
    head::{Single, accepts_json, seconds_value, single, with_head},
    json::{for_each_json_piece, is_deceptive, is_plain, write_json_str},
    problem::{PreparedProblem, answer_to},
    refusal::{OnRefusal, PreparedRefusal},
    retry_after::retry_after,
    sends::{Sends, content_length},
};
