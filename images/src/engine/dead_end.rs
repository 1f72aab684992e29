//! A network that leads nowhere, for the addresses at which clouds give a machine its credentials.
//!
//! They are addresses of the link (RFC 3927), and a container that is on a link with such addresses
//! looks for them there. Nobody answers: the link's bridge has no address itself, so that the
//! machine is not on it and its own way to its cloud stays, and containers do not hear each other.

use std::collections::HashMap;

use bollard::models::{Ipam, IpamConfig, NetworkConnectRequest, NetworkCreateRequest};

use super::{CALL_LIMIT, Engine, EngineError, LABEL};

/// What the network is called, in every engine.
pub const DEAD_END: &str = "trainyard-dead-end";

/// All addresses of a link.
const SUBNET: &str = "169.254.0.0/16";
/// Those for containers, among which no cloud has one.
const RANGE: &str = "169.254.64.0/18";
/// Given to nobody, but engines want one.
const GATEWAY: &str = "169.254.64.1";

impl Engine {
    /// Puts a container that was not started yet on that network besides its own. One that is on
    /// it is what was wanted.
    ///
    /// # Errors
    ///
    /// The engine refuses, as where its link takes part in another network.
    pub fn connect_to_dead_end(&self, id: &str) -> Result<(), EngineError> {
        self.runtime.block_on(async {
            // An engine connects what is not started to networks that are not there.
            if let Err(why_not) = self.have_dead_end().await {
                // Unless somebody else made it meanwhile.
                self.look_at_dead_end().await.map_err(|_| why_not)?;
            }
            self.join_dead_end(id).await
        })
    }

    async fn have_dead_end(&self) -> Result<(), EngineError> {
        match self.look_at_dead_end().await {
            Err(EngineError::Refused { status: 404, .. }) => {}
            other => return other,
        }
        let made = self.docker.create_network(network());
        self.within(CALL_LIMIT, made).await.map(drop)
    }

    async fn look_at_dead_end(&self) -> Result<(), EngineError> {
        let found = self.docker.inspect_network(DEAD_END, None);
        self.within(CALL_LIMIT, found).await.map(drop)
    }

    async fn join_dead_end(&self, id: &str) -> Result<(), EngineError> {
        let request = NetworkConnectRequest { container: id.to_owned(), ..Default::default() };
        let answer = self.docker.connect_network(DEAD_END, request);
        match self.within(CALL_LIMIT, answer).await {
            Err(EngineError::Refused { status: 403, message, .. })
                if message.contains("already exists") =>
            {
                Ok(())
            }
            other => other,
        }
    }
}

fn network() -> NetworkCreateRequest {
    let text = |value: &str| Some(value.to_owned());
    let addresses = IpamConfig {
        subnet: text(SUBNET),
        ip_range: text(RANGE),
        gateway: text(GATEWAY),
        ..IpamConfig::default()
    };
    let options = [
        ("com.docker.network.bridge.inhibit_ipv4", "true"),
        ("com.docker.network.bridge.enable_icc", "false"),
    ];
    let owned = |(key, value): (&str, &str)| (key.to_owned(), value.to_owned());
    NetworkCreateRequest {
        name: DEAD_END.to_owned(),
        driver: text("bridge"),
        internal: Some(true),
        ipam: Some(Ipam { config: Some(vec![addresses]), ..Ipam::default() }),
        options: Some(options.map(owned).into()),
        labels: Some(HashMap::from([owned((LABEL, "1"))])),
        ..NetworkCreateRequest::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::ContainerSpec;
    use crate::testing::engine::{engine, shell, unique};

    #[test]
    fn the_machine_is_not_on_it_and_whoever_asks_first_makes_it() {
        let Some(engine) = engine() else { return };
        let spec = ContainerSpec { network: "bridge".to_owned(), ..shell(&engine, "true") };
        let made =
            [(); 4].map(|()| engine.create_container(&unique("dead-end"), &spec).unwrap().id);
        let again =
            |id: &str| engine.connect_to_dead_end(id).and_then(|()| engine.connect_to_dead_end(id));

        let connected = made.each_ref().map(|id| again(id));
        let routes = std::fs::read_to_string("/proc/net/route").unwrap();
        let unknown = engine.connect_to_dead_end(&"0".repeat(64)).unwrap_err();
        for id in &made {
            engine.remove_container(id).unwrap();
        }

        assert!(connected.iter().all(Result::is_ok), "{connected:?}");
        // Numbers of the kernel's, the other way round: 169.254.0.0.
        assert!(!routes.contains("0000FEA9"), "{routes}");
        assert!(matches!(unknown, EngineError::Refused { status: 404, .. }), "{unknown:?}");
    }
}
