//! The switches of a running demo, as seen from elsewhere.

use super::{Action, admin::State};
use crate::{
    ports::Ports,
    purge::{Done, Wanted},
};
use axum::body::Body;
use bartizan_gateway::{Client, client};
use http::{Method, Request, header};
use http_body_util::{BodyExt, Limited};
use serde::de::DeserializeOwned;
use std::time::Duration;
use tokio::time::timeout;

/// The admin ports of a demo.
#[derive(Clone, Debug)]
pub(crate) struct Remote {
    ports: Ports,
    client: Client,
}

/// How long a service may take to answer on its admin port, where no fault can slow it.
const PATIENCE: Duration = Duration::from_secs(5);

impl Remote {
    pub(crate) fn new(ports: Ports) -> Self {
        Self { ports, client: client() }
    }

    pub(crate) async fn state(&self, service: &str) -> Result<State, String> {
        self.ask(Method::GET, service, "/faults", Body::empty()).await
    }

    /// Takes back what is stored. Every port can; that of the users is as good as any.
    pub(crate) async fn purge(&self, wanted: &Wanted) -> Result<Done, String> {
        let wanted = serde_json::to_string(wanted).expect("it has no keys that are not strings");
        self.ask(Method::POST, "users", "/purge", Body::from(wanted)).await
    }

    pub(crate) async fn apply(&self, action: &Action) -> Result<(), String> {
        match action {
            Action::Show => {}
            Action::Heal(services) => {
                for service in services.iter() {
                    self.ask::<State>(Method::DELETE, service, "/faults", Body::empty()).await?;
                }
            }
            Action::Harm(services, harm) => {
                let harm = serde_json::to_string(harm).expect("it has no keys that are not strings");
                for service in services.iter() {
                    self.ask::<State>(Method::PUT, service, "/faults", Body::from(harm.clone())).await?;
                }
            }
        }
        Ok(())
    }

    async fn ask<T: DeserializeOwned>(
        &self,
        method: Method,
        service: &str,
        path: &str,
        body: Body,
    ) -> Result<T, String> {
        let addr = self.ports.admin(service);
        let request = Request::builder().method(method).uri(format!("http://{addr}{path}"));
        let request = request.header(header::CONTENT_TYPE, "application/json").body(body);
        let answered = async {
            let response = self.client.request(request.expect("an address is a URI's authority")).await;
            let (head, body) = response.map_err(|_| not_running(&self.ports, service))?.into_parts();
            let body = Limited::new(body, 64 * 1024).collect().await.map_err(|error| error.to_string())?.to_bytes();
            match head.status.is_success() {
                true => serde_json::from_slice(&body).map_err(|_| not_running(&self.ports, service)),
                false => Err(format!("{service} says {}: {}", head.status, String::from_utf8_lossy(&body))),
            }
        };
        timeout(PATIENCE, answered).await.map_err(|_| not_running(&self.ports, service))?
    }
}

fn not_running(ports: &Ports, service: &str) -> String {
    let (addr, bff) = (ports.admin(service), ports.bff());
    let demo = format!("Is the demo running on port {0}? It starts with: cargo run -p bff -- --port {0}", bff.port());
    format!("nobody answers for {service} on {addr}. {demo}")
}
