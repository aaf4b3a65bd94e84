//! `BINARY health URL`: asks a running node how it is, for scripts and for the health checks of containers.

use std::time::Duration;

use eyre::eyre;
use tonic::transport::Endpoint;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use crate::exit::{Code, Failure, OrConfiguration as _};

/// `health`: exit code 0 when the node serves, 1 when it says that it does not, 3 when it cannot be reached
#[derive(Debug, Clone, clap::Args)]
pub struct HealthArgs {
    /// Where the node serves gRPC, as in http://127.0.0.1:9000
    #[arg(value_name = "URL")]
    url: String,
    /// One of its services by its full name, as reflection lists it [default: the node as a whole]
    #[arg(long, value_name = "NAME", default_value = "", hide_default_value = true)]
    service: String,
    /// How long to wait for an answer
    #[arg(long, value_name = "TIME", default_value = "3s")]
    deadline: humantime::Duration,
}

impl HealthArgs {
    /// Asks, and prints `serving`.
    ///
    /// # Errors
    /// A node that does not serve (exit code 1), that cannot be reached in time (3), or a URL that is none (2).
    pub async fn run(&self) -> Result<(), Failure> {
        let deadline: Duration = self.deadline.into();
        let endpoint = Endpoint::from_shared(self.url.clone())
            .or_configuration()?
            .connect_timeout(deadline)
            .timeout(deadline);
        let silent = |why: String| Failure::new(Code::Indeterminate, eyre!("{}: {why}", self.url));
        let channel = endpoint
            .connect()
            .await
            .map_err(|error| silent(crate::exit::causes(&error)))?;
        let asked = HealthCheckRequest {
            service: self.service.clone(),
        };
        let status = match HealthClient::new(channel).check(asked).await {
            Ok(answer) => answer.into_inner().status(),
            Err(status) if status.code() == tonic::Code::NotFound => {
                return Err(Failure::configuration(eyre!(
                    "{}: it has no service `{}`",
                    self.url,
                    self.service
                )));
            }
            Err(status) => return Err(silent(status.message().to_owned())),
        };
        if status == ServingStatus::Serving {
            println!("serving");
            Ok(())
        } else {
            Err(Failure::new(
                Code::Negative,
                eyre!("{}: {}", self.url, status.as_str_name()),
            ))
        }
    }
}
