//! A request's turn: when it may pass at once, when it has to stand in line, and for how long.

use super::{
    event::Event,
    limiter::Limiter,
    queue::Bucket,
    rules::{Due, Dues, Patience},
};
use bartizan_store::{Decision, Standing, Throttle, Unavailable, Verdict};
use tokio::time::{Instant, sleep, timeout_at};

impl<T: Throttle + Clone> Limiter<T> {
    /// Decides at once if nobody waits for one of these buckets and all grant it; otherwise in turn.
    pub(super) async fn decide_in_turn(
        &self,
        dues: &Dues,
        patience: Patience,
        until: Instant,
    ) -> Result<Decision, Unavailable> {
        // What takes nothing always passes, and what can never pass is told so: neither has to stand in line for it.
        if dues.iter().all(|due| due.cost == 0) || dues.iter().any(|due| due.cost > due.quota.burst_size()) {
            return self.decide(dues).await;
        }
        let taken_from = dues.iter().filter(|due| due.cost > 0);
        let line = match self.lines.occupied(taken_from.map(Due::bucket)) {
            Some(line) => line,
            None => {
                let decision = self.decide(dues).await?;
                match (decision.verdict(), refused_by(dues, &decision)) {
                    (Verdict::Refused(wait), Some(line)) if Instant::now() + wait <= until && patience.queue > 0 => {
                        line
                    }
                    _ => return Ok(decision),
                }
            }
        };
        let joined = Instant::now();
        let decision = self.stand_in(line, dues, patience, until).await;
        self.rules.tell(&Event::Waited(joined.elapsed()));
        decision
    }

    /// Stands in line, and in another if it is that bucket which keeps the request back in the end. Never in two at
    /// once: two requests could wait for each other.
    async fn stand_in(
        &self,
        mut line: Bucket,
        dues: &Dues,
        patience: Patience,
        until: Instant,
    ) -> Result<Decision, Unavailable> {
        loop {
            let Some(ticket) = self.lines.join(line, patience.queue) else {
                return self.refuse_in(line, dues).await;
            };
            let Ok(_turn) = timeout_at(until, ticket.turn()).await else {
                return self.refuse_in(line, dues).await;
            };
            line = loop {
                // A timer rings late rather than early.
                if Instant::now() > until {
                    return self.refuse_in(line, dues).await;
                }
                let decision = self.decide(dues).await?;
                match (decision.verdict(), refused_by(dues, &decision)) {
                    (Verdict::Refused(wait), _) if Instant::now() + wait > until => return Ok(decision),
                    (Verdict::Refused(_), Some(other)) if other != line => break other,
                    (Verdict::Refused(wait), _) => sleep(wait).await,
                    _ => return Ok(decision),
                }
            };
        }
    }

    /// The refusal of a request for which there is no place in line, or that stood there for too long. If the store
    /// would let it pass, those in front of it do not.
    async fn refuse_in(&self, line: Bucket, dues: &Dues) -> Result<Decision, Unavailable> {
        let peeking = self.store.peek(&self.rules.charges(dues));
        let peeked = peeking.await?;
        if !peeked.is_admitted() {
            return Ok(peeked);
        }
        let mut wait = std::time::Duration::ZERO;
        let standings = dues.iter().zip(peeked.standings()).map(|(due, standing)| {
            if due.bucket() != line {
                return *standing;
            }
            wait = due.quota.interval();
            Standing::new(wait, 0, wait, standing.full_in().max(wait), standing.stamp())
        });
        let standings: Vec<_> = standings.collect();
        Ok(Decision::new(Verdict::Refused(wait), standings))
    }
}

/// The bucket that refuses a request for longest: the one to wait for.
fn refused_by(dues: &Dues, decision: &Decision) -> Option<Bucket> {
    let longest = dues.iter().zip(decision.standings()).max_by_key(|(_, standing)| standing.wait())?;
    Some(longest.0.bucket())
}
