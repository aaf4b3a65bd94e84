//! `platform services add | list | remove`.

use clap::Subcommand;
use http::Method;
use node::database::Place;
use node::exit::Failure;
use serde_json::{Value, json};

use super::{ListArgs, existing, made, say, table};
use crate::run::open;
use crate::store::{Service, ServiceError};

#[derive(Debug, Subcommand)]
pub(super) enum Services {
    /// Add one: its invariants are streamed only while it is paid
    Add {
        /// The protected protocol's name
        name: String,
        /// Its payment contract, as `billing deploy` prints it
        #[arg(long, value_name = "ADDRESS")]
        payment: alloy::primitives::Address,
        /// The platform's database, a SQLite file or postgres://..; a file is made when it is not there
        #[arg(long, value_name = "DATABASE")]
        database: Place,
    },
    /// List them: paid until when, streamed or not
    List(ListArgs),
    /// Remove one that has no invariants any more
    Remove {
        /// Its name
        name: String,
        /// The platform's database, a SQLite file or postgres://..
        #[arg(long, value_name = "DATABASE")]
        database: Place,
    },
}

impl Services {
    pub(super) async fn execute(self) -> Result<(), Failure> {
        match self {
            Self::Add {
                name,
                payment,
                database,
            } => {
                let store = open(&database).await?;
                store.add_service(&name, payment).await.map_err(service_failure)?;
                made(&store, &Method::POST, "/v1/services").await?;
                say(format_args!("added service {name}, paid into {payment}"))
            }
            Self::Remove { name, database } => {
                let store = existing(&database).await?;
                store.remove_service(&name).await.map_err(service_failure)?;
                made(&store, &Method::DELETE, &format!("/v1/services/{name}")).await?;
                say(format_args!("removed service {name}"))
            }
            Self::List(args) => {
                let services = existing(&args.database).await?.services().await?;
                if args.json {
                    let rows: Vec<Value> = services.iter().map(service_as_json).collect();
                    return say(serde_json::to_string_pretty(&rows)?);
                }
                let mut table = table(["name", "payment contract", "invariants", "streamed", "payment"]);
                for service in services {
                    let payment = service
                        .conclusion
                        .map_or("not looked at yet".to_owned(), |known| known.to_string());
                    table.add_row([
                        service.name,
                        service.payment.to_string(),
                        service.invariants.to_string(),
                        if service.served { "yes" } else { "NO" }.to_owned(),
                        payment,
                    ]);
                }
                say(table)
            }
        }
    }
}

fn service_as_json(service: &Service) -> Value {
    json!({
        "name": service.name,
        "payment_contract": service.payment.to_string(),
        "invariants": service.invariants,
        "streamed": service.served,
        "payment": service.conclusion,
        "checked_at_ms": service.checked_at_ms,
    })
}

/// A wrong name is the user's to mend.
pub(super) fn service_failure(error: ServiceError) -> Failure {
    match error {
        ServiceError::Log(error) => Failure::from(error),
        other => Failure::configuration(other),
    }
}
