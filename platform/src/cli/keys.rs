//! `platform keys create | list | revoke`.

use clap::Subcommand;
use eyre::eyre;
use http::Method;
use node::database::Place;
use node::exit::Failure;
use serde_json::json;

use super::{ListArgs, existing, made, say, table};
use crate::rest::key::{self, Role};
use crate::run::open;
use crate::store::KeyRow;

#[derive(Debug, Subcommand)]
pub(super) enum Keys {
    /// Make a key and print it; it is not shown again
    Create {
        /// Whose it is, or what for
        name: String,
        /// What it allows
        #[arg(long, value_enum, default_value = "read")]
        role: Role,
        /// The platform's database, a SQLite file or postgres://..; a file is made when it is not there
        #[arg(long, value_name = "DATABASE")]
        database: Place,
    },
    /// List them, without their secrets
    List(ListArgs),
    /// Revoke one: it is refused from now on
    Revoke {
        /// Its number, as `list` shows it
        id: u64,
        /// The platform's database, a SQLite file or postgres://..
        #[arg(long, value_name = "DATABASE")]
        database: Place,
    },
}

impl Keys {
    pub(super) async fn execute(self) -> Result<(), Failure> {
        match self {
            Self::Create { name, role, database } => {
                let store = open(&database).await?;
                let key = key::make(&store, &name, role).await?;
                made(&store, &Method::POST, "/v1/keys").await?;
                say(key.as_str())
            }
            Self::Revoke { id, database } => {
                let store = existing(&database).await?;
                if !store.revoke_key(id).await? {
                    return Err(Failure::configuration(eyre!(
                        "there is no key {id} that is good; `platform keys list` shows them"
                    )));
                }
                made(&store, &Method::DELETE, &format!("/v1/keys/{id}")).await?;
                say(format_args!("revoked key {id}"))
            }
            Self::List(args) => {
                let keys = existing(&args.database).await?.keys(None).await?;
                let date = |ms: u64| crate::rest::date(ms);
                if args.json {
                    let row = |key: &KeyRow| {
                        json!({
                            "id": key.id, "name": key.name, "role": key.role, "prefix": format!("pk_{}", key.prefix),
                            "created_at": date(key.created_at_ms), "revoked_at": key.revoked_at_ms.map(date),
                        })
                    };
                    return say(serde_json::to_string_pretty(&keys.iter().map(row).collect::<Vec<_>>())?);
                }
                let mut table = table(["id", "name", "role", "prefix", "created", "revoked"]);
                for key in keys {
                    table.add_row([
                        key.id.to_string(),
                        key.name,
                        key.role,
                        format!("pk_{}", key.prefix),
                        date(key.created_at_ms),
                        key.revoked_at_ms.map_or_else(String::new, date),
                    ]);
                }
                say(table)
            }
        }
    }
}
