//! What belongs to what: links between what is registered.

use std::collections::BTreeSet;

use sqlx::AnyConnection;

use super::catalog::exists;
use super::{CatalogError, Kind, Store, signed, unsigned};
use crate::log::LogError;

/// Which belongs to which: the owner first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Relation {
    /// A contract's invariants.
    ContractInvariant,
    /// An invariant's actions.
    InvariantAction,
    /// A dashboard's contracts.
    DashboardContract,
    /// A dashboard's own invariants.
    DashboardInvariant,
    /// A dashboard's own actions.
    DashboardAction,
}

impl Relation {
    const ALL: [Self; 5] = [
        Self::ContractInvariant,
        Self::InvariantAction,
        Self::DashboardContract,
        Self::DashboardInvariant,
        Self::DashboardAction,
    ];

    const fn name(self) -> &'static str {
        match self {
            Self::ContractInvariant => "contract_invariant",
            Self::InvariantAction => "invariant_action",
            Self::DashboardContract => "dashboard_contract",
            Self::DashboardInvariant => "dashboard_invariant",
            Self::DashboardAction => "dashboard_action",
        }
    }

    /// What the owner is.
    #[must_use]
    pub const fn owner(self) -> Kind {
        match self {
            Self::ContractInvariant => Kind::Contract,
            Self::InvariantAction => Kind::Invariant,
            Self::DashboardContract | Self::DashboardInvariant | Self::DashboardAction => Kind::Dashboard,
        }
    }

    /// What belongs to it.
    #[must_use]
    pub const fn member(self) -> Kind {
        match self {
            Self::ContractInvariant | Self::DashboardInvariant => Kind::Invariant,
            Self::InvariantAction | Self::DashboardAction => Kind::Action,
            Self::DashboardContract => Kind::Contract,
        }
    }
}

/// New members of an owner, by relation.
pub type Members = [(Relation, Vec<u64>)];

/// Links of one relation: owner, then member.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Links(BTreeSet<(u64, u64)>);

impl Links {
    /// The members of an owner, by number.
    #[must_use]
    pub fn of(&self, owner: u64) -> Vec<u64> {
        let links = self.0.range((owner, 0)..=(owner, u64::MAX));
        links.map(|(_, member)| *member).collect()
    }
}

impl Store {
    /// The members of an owner, by number.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn members(&self, relation: Relation, owner: u64) -> Result<Vec<u64>, LogError> {
        let mut connection = self.pool().acquire().await?;
        Ok(between(&mut connection, relation, owner, owner).await?.of(owner))
    }

    /// All links of a relation.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn all_members(&self, relation: Relation) -> Result<Links, LogError> {
        between(&mut *self.pool().acquire().await?, relation, 0, u64::MAX).await
    }

    /// Links or unlinks a member; both are there, and doing it again changes nothing.
    ///
    /// # Errors
    /// [`CatalogError::Unknown`] for whichever is not there.
    pub async fn link(&self, relation: Relation, owner: u64, member: u64, linked: bool) -> Result<(), CatalogError> {
        let mut writing = self.begin().await?;
        for (kind, id) in [(relation.owner(), owner), (relation.member(), member)] {
            if !exists(writing.connection(), kind, id).await? {
                return Err(CatalogError::Unknown(kind, id));
            }
        }
        let change = if linked {
            "INSERT INTO links (relation, owner, member) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING"
        } else {
            "DELETE FROM links WHERE relation = $1 AND owner = $2 AND member = $3"
        };
        sqlx::query(change)
            .bind(relation.name())
            .bind(signed(owner))
            .bind(signed(member))
            .execute(writing.connection())
            .await?;
        writing.commit().await?;
        Ok(())
    }
}

/// The links of a relation whose owners lie between these numbers, both included.
pub(super) async fn between(
    db: &mut AnyConnection,
    relation: Relation,
    first: u64,
    last: u64,
) -> Result<Links, LogError> {
    let pairs: Vec<(i64, i64)> =
        sqlx::query_as("SELECT owner, member FROM links WHERE relation = $1 AND owner BETWEEN $2 AND $3")
            .bind(relation.name())
            .bind(signed(first))
            .bind(signed(last))
            .fetch_all(db)
            .await?;
    let pair = |(owner, member)| (unsigned(owner), unsigned(member));
    Ok(Links(pairs.into_iter().map(pair).collect()))
}

/// Puts these members in the place of those that an owner had.
pub(super) async fn replace(db: &mut AnyConnection, owner: u64, members: &Members) -> Result<(), CatalogError> {
    for (relation, members) in members {
        if !exists(db, relation.owner(), owner).await? {
            return Err(CatalogError::Unknown(relation.owner(), owner));
        }
        sqlx::query("DELETE FROM links WHERE relation = $1 AND owner = $2")
            .bind(relation.name())
            .bind(signed(owner))
            .execute(&mut *db)
            .await?;
        for member in members {
            if !exists(db, relation.member(), *member).await? {
                return Err(CatalogError::Unknown(relation.member(), *member));
            }
            sqlx::query("INSERT INTO links (relation, owner, member) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING")
                .bind(relation.name())
                .bind(signed(owner))
                .bind(signed(*member))
                .execute(&mut *db)
                .await?;
        }
    }
    Ok(())
}

/// Takes away all links of one that is deleted.
pub(super) async fn unlink(db: &mut AnyConnection, kind: Kind, id: u64) -> Result<(), LogError> {
    for relation in Relation::ALL {
        for (is, unlink) in [
            (relation.owner(), "DELETE FROM links WHERE relation = $1 AND owner = $2"),
            (
                relation.member(),
                "DELETE FROM links WHERE relation = $1 AND member = $2",
            ),
        ] {
            if is == kind {
                sqlx::query(unlink)
                    .bind(relation.name())
                    .bind(signed(id))
                    .execute(&mut *db)
                    .await?;
            }
        }
    }
    Ok(())
}
