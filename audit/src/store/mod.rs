//! What an auditor keeps across restarts: samples, verdicts, claims, bounties, and how far the contract's events are read.
//!
//! What always holds: a verdict stands here, with its numbers, before it is sent, and is marked as counted only by an event of the
//! contract that is deep enough; events and the place up to which they are read are one transaction. A lost file costs samples and
//! nothing else: what was reported and paid is the contract's to say.

mod claims;
mod reports;
mod samples;

pub use claims::{Bounty, Claim, ClaimState};
pub use reports::{Counted, Report, ReportState};
pub use samples::Sample;

use alloy::primitives::Address;
use node::database::shared::{Begin, Database};
use node::database::{DatabaseError, Place};
use sqlx::Row as _;
use sqlx::any::AnyRow;

/// A database that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// It cannot be opened.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// A statement.
    #[error("the audit database: {0}")]
    Sql(#[from] sqlx::Error),
    /// It is of another node.
    #[error(
        "{place} is the database of node {node} at the AuditManager {contract} on chain {chain}; give this node one of its own (`data`, `database`)"
    )]
    Foreign {
        /// Where it is.
        place: String,
        /// Whose it is.
        node: u64,
        /// Its contract.
        contract: String,
        /// Its chain.
        chain: u64,
    },
    /// A value that this program did not write.
    #[error(
        "the audit database is damaged: {0}; move the file away, what was reported and paid is read again from the chain"
    )]
    Damaged(String),
}

/// Which node's database it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Owner {
    /// EIP-155.
    pub chain_id: u64,
    /// The AuditManager.
    pub contract: Address,
    /// The node's id.
    pub node: u32,
}

/// The database.
#[derive(Debug, Clone)]
pub struct Store {
    database: Database,
}

/// A transaction that writes: what holds it up is another writer, for ten seconds at most.
const WRITING: Begin = Begin {
    sqlite: "BEGIN IMMEDIATE",
    postgres: "BEGIN",
};

/// As SQL keeps it.
fn number(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// As it was kept.
fn unsigned(row: &AnyRow, column: &str) -> Result<u64, StoreError> {
    let value: i64 = row.try_get(column)?;
    u64::try_from(value).map_err(|_| StoreError::Damaged(format!("{column} is {value}")))
}

fn node_id(row: &AnyRow, column: &str) -> Result<u32, StoreError> {
    let value = unsigned(row, column)?;
    u32::try_from(value).map_err(|_| StoreError::Damaged(format!("{column} is {value}")))
}

impl Store {
    /// Opens it, creating a file that is not there.
    ///
    /// # Errors
    /// [`StoreError`]: not usable.
    pub async fn open(place: Place) -> Result<Self, StoreError> {
        static MIGRATIONS: sqlx::migrate::Migrator = sqlx_macros::migrate!();
        Ok(Self {
            database: Database::open(place, &MIGRATIONS).await?,
        })
    }

    /// Makes it this node's, reading events from the block after `block`; what is this node's already stays as it is.
    ///
    /// # Errors
    /// [`StoreError::Foreign`]: it is another node's.
    pub async fn own(&self, owner: Owner, block: u64) -> Result<(), StoreError> {
        let contract = owner.contract.to_string();
        sqlx::query(
            "INSERT INTO place (one, chain_id, contract, node, block) VALUES (1, $1, $2, $3, $4) ON CONFLICT (one) DO NOTHING",
        )
        .bind(number(owner.chain_id))
        .bind(&contract)
        .bind(i64::from(owner.node))
        .bind(number(block))
        .execute(self.database.pool())
        .await?;
        let row = sqlx::query("SELECT chain_id, contract, node FROM place")
            .fetch_one(self.database.pool())
            .await?;
        let (chain, found, node) = (
            unsigned(&row, "chain_id")?,
            row.try_get::<String, _>("contract")?,
            unsigned(&row, "node")?,
        );
        if chain == owner.chain_id && found == contract && node == u64::from(owner.node) {
            return Ok(());
        }
        Err(StoreError::Foreign {
            place: self.database.place().to_string(),
            node,
            contract: found,
            chain,
        })
    }

    /// The block up to which events are read; `None`: it is nobody's yet.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn read_to(&self) -> Result<Option<u64>, StoreError> {
        let row = sqlx::query("SELECT block FROM place")
            .fetch_optional(self.database.pool())
            .await?;
        row.map(|row| unsigned(&row, "block")).transpose()
    }

    /// Events up to `block` are read: which verdicts were taken or not, and what was paid. In one transaction.
    ///
    /// # Errors
    /// When it cannot be written: then nothing of it is.
    pub async fn advance(&self, counted: &[Counted], bounties: &[Bounty], block: u64) -> Result<(), StoreError> {
        let mut transaction = self.database.begin(WRITING).await?;
        for one in counted {
            reports::count(&mut transaction, one).await?;
        }
        for bounty in bounties {
            claims::insert(&mut transaction, bounty).await?;
        }
        sqlx::query("UPDATE place SET block = $1 WHERE one = 1 AND block < $1")
            .bind(number(block))
            .execute(&mut *transaction)
            .await?;
        transaction.commit().await?;
        Ok(())
    }

    /// Closes it.
    pub async fn close(&self) {
        self.database.pool().close().await;
    }
}
