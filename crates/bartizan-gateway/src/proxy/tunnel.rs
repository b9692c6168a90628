//! A switch to another protocol, and what follows when both sides have done it.

use super::fields::taken_upgrade;
use http::{HeaderValue, Response};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::copy_bidirectional;

/// A client that would speak another protocol.
pub(super) struct Switch {
    pub(super) protocols: HeaderValue,
    pub(super) client: OnUpgrade,
}

// ===== impl Switch =====

impl Switch {
    /// Hands both connections over to each other, if the service switches to what it was asked for.
    pub(super) fn over<B>(self, response: &Response<B>) -> Option<HeaderValue> {
        let taken = taken_upgrade(response.headers(), &self.protocols)?;
        let service = response.extensions().get::<OnUpgrade>()?.clone();
        tokio::spawn(tunnel(self.client, service));
        Some(taken)
    }
}

/// Carries bytes both ways, each way until that side has ended, and tells the other so. Holds 8 KiB each way.
async fn tunnel(client: OnUpgrade, service: OnUpgrade) {
    let ended = async {
        let (client, service) = tokio::try_join!(client, service)?;
        copy_bidirectional(&mut TokioIo::new(client), &mut TokioIo::new(service)).await?;
        Ok::<_, axum::BoxError>(())
    };
    if let Err(error) = ended.await {
        tracing::debug!(%error, "an upgraded connection broke");
    }
}
