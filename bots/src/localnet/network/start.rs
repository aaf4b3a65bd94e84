//! The processes, in the order in which they need each other.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use alloy::primitives::B256;
use chain::wallet::Keypair;
use tokio::time::Instant;

use super::{Network, POLL};
use crate::localnet::clients::{LedgerView, PlatformView};
use crate::localnet::error::LocalnetError;
use crate::localnet::input::Input;
use crate::localnet::members::ANY_PORT;
use crate::localnet::plan::Member;
use crate::localnet::recording::write_invariants;
use crate::localnet::services::Extra;
use crate::localnet::services::audits::{NODES_MAX, Node};
use crate::localnet::services::billing::{MARKETS, VAULT};

/// How long all miners may take to say on the ledger where they serve.
const AXONS_WITHIN: Duration = Duration::from_secs(60);

impl Network<'_> {
    pub(super) async fn start_ledger(&mut self) -> Result<LedgerView, LocalnetError> {
        self.progress.phase("starting the ledger");
        self.start(Member::Ledger).await?;
        let address = self.fleet.ready(Member::Ledger).await?;
        self.wiring.ledger = Some(address);
        let ledger = LedgerView::new(address)?;
        let (validators, miners) = (self.plan.validators.len(), self.plan.miners.len());
        self.progress
            .phase(&format!("registering {validators} validators and {miners} miners"));
        self.fleet
            .guard(ledger.register(&self.plan, &self.wiring.folder))
            .await?;
        Ok(ledger)
    }

    pub(super) async fn fill_registry(&mut self) -> Result<(), LocalnetError> {
        for protocol in self.services.iter().flat_map(|services| services.protocols()) {
            let args = self.wiring.add_service(protocol.name, &protocol.payment.to_string());
            self.fleet.run_once("services", Member::Platform, args).await?;
        }
        for (file, service) in self.invariants()? {
            let args = self.wiring.add_invariants(&file, service);
            self.fleet.run_once("invariants", Member::Platform, args).await?;
        }
        Ok(())
    }

    /// The files of invariants in the order in which the registry numbers them, each with the protocol that pays for them.
    fn invariants(&mut self) -> Result<Vec<(PathBuf, Option<&'static str>)>, LocalnetError> {
        if let Some(file) = &self.options.invariants {
            return Ok(vec![(file.clone(), None)]);
        }
        let folder = self.wiring.folder.path();
        if let (Input::Living(living), true) = (&self.input, self.options.has(Extra::Billing)) {
            let (vault, markets) = living.by_protocol();
            let mut files = Vec::new();
            for (protocol, invariants) in [(VAULT, vault), (MARKETS, markets)] {
                let folder = folder.join(protocol);
                std::fs::create_dir_all(&folder).map_err(|error| LocalnetError::File {
                    path: folder.clone(),
                    reason: error.to_string(),
                })?;
                files.push((write_invariants(&invariants, &[], &folder)?, Some(protocol)));
            }
            return Ok(files);
        }
        if self.input.is_unwatched() {
            self.progress
                .say("no invariant watches this recording; --invariants FILE names some");
            return Ok(Vec::new());
        }
        let left_out = self.input.inexpressible();
        if left_out > 0 {
            self.progress.say(&format!(
                "{left_out} invariants of the cases are not about one storage slot and are left out"
            ));
        }
        Ok(vec![(self.input.write_invariants(folder)?, None)])
    }

    pub(super) async fn start_platform_and_miners(
        &mut self,
        ledger: &LedgerView,
    ) -> Result<PlatformView, LocalnetError> {
        self.progress.phase("starting the platform and the miners");
        self.start(Member::Platform).await?;
        let miners: Vec<Member> = self.plan.miners.iter().map(|miner| Member::Miner(miner.uid)).collect();
        for miner in &miners {
            self.start(*miner).await?;
        }
        for miner in miners {
            self.fleet.ready(miner).await?;
        }
        let address = self.fleet.ready(Member::Platform).await?;
        self.wiring.platform = Some(address);
        self.show_page().await?;
        self.await_axons(ledger).await?;
        PlatformView::new(address)
    }

    /// A validator that looked before all miners said where they serve would draw from too few.
    async fn await_axons(&self, ledger: &LedgerView) -> Result<(), LocalnetError> {
        let until = Instant::now() + AXONS_WITHIN;
        loop {
            let serving = self.fleet.guard(ledger.axons()).await?;
            if serving >= self.plan.miners.len() {
                return Ok(());
            }
            if Instant::now() > until {
                let reason = format!(
                    "only {serving} of {} miners said where they serve",
                    self.plan.miners.len()
                );
                return Err(LocalnetError::Silent {
                    who: Member::Ledger.to_string(),
                    reason,
                });
            }
            tokio::time::sleep(POLL).await;
        }
    }

    pub(super) async fn start_validators(&mut self) -> Result<(), LocalnetError> {
        let validators = self
            .plan
            .validators
            .iter()
            .map(|planned| Member::Validator(planned.uid));
        self.start_all(validators.collect(), "starting the validators").await
    }

    /// Says where the web page is; with `--open` it comes up in the browser.
    async fn show_page(&mut self) -> Result<(), LocalnetError> {
        let page = self.fleet.announced(Member::Platform, &self.wiring.page_file()).await?;
        self.wiring.page = Some(page);
        let url = format!("http://{page}/");
        self.progress.say(&format!("the web page: {url}"));
        if self.options.open
            && let Err(error) = open::that_detached(&url)
        {
            self.progress.say(&format!("no browser could be opened: {error}"));
        }
        Ok(())
    }

    /// The keepers, and the monitors of payments.
    pub(super) async fn start_services(&mut self) -> Result<(), LocalnetError> {
        let members = self.services.iter().flat_map(|services| services.members()).collect();
        self.start_all(members, "starting the keepers and the monitors of payments")
            .await
    }

    /// Registers everybody that serves for its audits, and starts the auditors.
    pub(super) async fn start_auditors(&mut self) -> Result<(), LocalnetError> {
        if !self.options.has(Extra::Audit) {
            return Ok(());
        }
        self.progress.phase("registering the nodes for their audits");
        let nodes = self.audited()?;
        let Some(services) = &mut self.services else {
            return Ok(());
        };
        let registering = async { Ok::<_, LocalnetError>(services.register(&nodes, self.options.shape.seed).await?) };
        self.fleet.guard(registering).await?;
        let members = services.auditors();
        self.progress.say(&format!(
            "{} nodes audit each other for a bounty; {} auditors run",
            nodes.len(),
            members.len()
        ));
        self.start_all(members, "starting the auditors").await
    }

    /// Who is audited: the platform, validators, keepers and miners, as many as one group measures.
    fn audited(&self) -> Result<Vec<Node>, LocalnetError> {
        let validators = self
            .plan
            .validators
            .iter()
            .map(|one| (Member::Validator(one.uid), Some(&one.key_seed)));
        let miners = self
            .plan
            .miners
            .iter()
            .map(|one| (Member::Miner(one.uid), Some(&one.key_seed)));
        let members = self.services.iter().flat_map(|services| services.members());
        let keepers = members.filter(|member| matches!(member, Member::Keeper(_)));
        let platform = std::iter::once((Member::Platform, None));
        let all = platform
            .chain(validators)
            .chain(keepers.map(|keeper| (keeper, None)))
            .chain(miners);
        all.take(NODES_MAX)
            .map(|(member, seed)| {
                Ok(Node {
                    member,
                    hotkey: seed.map_or(B256::ZERO, |seed| {
                        B256::from(*Keypair::from_seed(*seed).account().as_bytes())
                    }),
                    address: self.fleet.address(member)?,
                })
            })
            .collect()
    }

    async fn start_all(&mut self, members: Vec<Member>, phase: &str) -> Result<(), LocalnetError> {
        if members.is_empty() {
            return Ok(());
        }
        self.progress.phase(phase);
        for member in &members {
            self.start(*member).await?;
        }
        for member in members {
            self.fleet.ready(member).await?;
        }
        Ok(())
    }

    /// Makes what a member needs, and starts it.
    async fn start(&mut self, member: Member) -> Result<(), LocalnetError> {
        if let Some(services) = &self.services {
            if let Some(args) = services.keystore(member, &self.wiring.folder)? {
                self.fleet.run_once(&format!("{member}-key"), member, args).await?;
            }
            let told = services.equip(member, &self.wiring, self.options.invariants.is_some())?;
            self.wiring.told.insert(member, told);
        }
        let args = self.wiring.args(member, &self.plan);
        Ok(self.fleet.start(member, SocketAddr::from(ANY_PORT), args)?)
    }
}
