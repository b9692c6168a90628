//! What follows when both sides have switched to another protocol.

use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::copy_bidirectional;

/// Carries bytes both ways, each way until that side has ended, and tells the other so. Holds 8 KiB each way.
pub(super) async fn tunnel(client: OnUpgrade, service: OnUpgrade) {
    let ended = async {
        let (client, service) = tokio::try_join!(client, service)?;
        copy_bidirectional(&mut TokioIo::new(client), &mut TokioIo::new(service)).await?;
        Ok::<_, axum::BoxError>(())
    };
    if let Err(error) = ended.await {
        tracing::debug!(%error, "an upgraded connection broke");
    }
}
