//! The command lines of the network's processes, without what every one of them gets from [`super::fleet`] (`--listen`,
//! `--ready-file`, `--exit-with-parent`).

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use super::fleet::Folder;
use super::live::Endpoint;
use super::plan::{Member, NetworkPlan, Role};

/// Milliseconds between two blocks of the ledger.
const BLOCK_TIME: &str = "250ms";
/// Blocks between two epochs of the ledger.
const TEMPO: &str = "20";

/// Blocks between two weight settings of a validator: less than a tempo, so that each epoch has weights of its own.
const WEIGHTS_RATE_LIMIT: &str = "10";

/// On a living chain, of the honest miners those whose uid is a multiple of this have a node of their own.
const CHECKING: u32 = 4;

/// Any free port of this machine.
pub(crate) const ANY_PORT: ([u8; 4], u16) = ([127, 0, 0, 1], 0);

/// What the platform reads.
#[derive(Debug, Clone)]
pub(crate) enum FeedWiring {
    Recording {
        path: PathBuf,
        /// `realtime`, `max` or `N/s`.
        pace: String,
    },
    /// A node of a living chain.
    Node(Endpoint),
}

/// What the command lines are made of, apart from the plan.
#[derive(Debug, Clone)]
pub(crate) struct Wiring {
    pub(crate) folder: Folder,
    pub(crate) feed: FeedWiring,
    /// Known once it is ready.
    pub(crate) ledger: Option<SocketAddr>,
    /// Known once it is ready.
    pub(crate) platform: Option<SocketAddr>,
    /// Where the platform's web page is, once it serves it.
    pub(crate) page: Option<SocketAddr>,
    /// What a member is told besides; of those that only a living chain has, all.
    pub(crate) told: BTreeMap<Member, Vec<OsString>>,
}

impl Wiring {
    /// The arguments of a member.
    pub(crate) fn args(&self, member: Member, plan: &NetworkPlan) -> Vec<OsString> {
        let mut args: Vec<OsString> = vec!["run".into()];
        let mut add = |flag: &str, value: OsString| args.extend([flag.into(), value]);
        match member {
            // Not a binary of this project: `live::anvil` makes its arguments.
            Member::Node => return Vec::new(),
            // What they are told is all in `told`.
            Member::Keeper(_) | Member::Auditor(_) | Member::Monitor(_) => args.clear(),
            Member::Ledger => {
                add("--database", self.folder.database(member).into());
                add("--block-time", BLOCK_TIME.into());
                add("--tempo", TEMPO.into());
                add("--weights-rate-limit", WEIGHTS_RATE_LIMIT.into());
                args.push("--faucet".into());
            }
            Member::Platform => {
                add("--database", self.folder.database(member).into());
                match &self.feed {
                    FeedWiring::Recording { path, pace } => {
                        add("--feed", prefixed("replay:", path));
                        add("--pace", pace.clone().into());
                    }
                    FeedWiring::Node(node) => add("--feed", node.feed.clone().into()),
                }
                add("--ledger", url(self.ledger));
                add("--replicas", plan.replicas.to_string().into());
                add("--min-validators", plan.validators.len().to_string().into());
                let page = self.page.unwrap_or_else(|| ANY_PORT.into());
                add("--http", page.to_string().into());
                add("--http-ready-file", self.page_file().into());
            }
            Member::Validator(uid) => {
                let seed = plan
                    .validators
                    .iter()
                    .find(|planned| planned.uid == uid)
                    .map_or(0, |planned| planned.seed);
                add("--database", self.folder.database(member).into());
                add("--hotkey", self.folder.hotkey(member).into());
                add("--platform", url(self.platform));
                add("--ledger", url(self.ledger));
                add("--seed", seed.to_string().into());
            }
            Member::Miner(uid) => {
                let role = plan
                    .miners
                    .iter()
                    .find(|planned| planned.uid == uid)
                    .map_or(Role::Honest, |planned| planned.role);
                add("--hotkey", self.folder.hotkey(member).into());
                add("--ledger", url(self.ledger));
                add("--state", "challenge".into());
                add("--threads", "1".into());
                add("--behaviour", role.to_string().into());
                // Some of the honest look after what they are told with a node of their own.
                if let FeedWiring::Node(node) = &self.feed
                    && role == Role::Honest
                    && uid % CHECKING == 0
                {
                    add("--node", node.rpc.clone().into());
                    args.push("--check-prestate".into());
                }
            }
        }
        args.extend(self.told.get(&member).into_iter().flatten().cloned());
        args
    }

    /// The file into which the platform writes where its web page is.
    pub(crate) fn page_file(&self) -> PathBuf {
        self.folder.path().join("platform.page")
    }

    /// The arguments with which the platform's registry is filled, before the platform runs: with invariants of a protocol that pays for
    /// its protection, or of nobody.
    pub(crate) fn add_invariants(&self, file: &Path, service: Option<&str>) -> Vec<OsString> {
        let mut args = self.registry(&["invariants", "add"]);
        args.extend(["--file".into(), file.into()]);
        if let Some(service) = service {
            args.extend(["--service".into(), service.into()]);
        }
        args
    }

    /// The arguments that add a protocol with its payment contract.
    pub(crate) fn add_service(&self, name: &str, payment: &str) -> Vec<OsString> {
        let mut args = self.registry(&["services", "add", name]);
        args.extend(["--payment".into(), payment.into()]);
        args
    }

    fn registry(&self, words: &[&str]) -> Vec<OsString> {
        let mut args: Vec<OsString> = words.iter().map(OsString::from).collect();
        args.extend(["--database".into(), self.folder.database(Member::Platform).into()]);
        args
    }
}

fn url(address: Option<SocketAddr>) -> OsString {
    address.map_or_else(OsString::new, |address| format!("http://{address}").into())
}

fn prefixed(prefix: &str, path: &Path) -> OsString {
    let mut all = OsString::from(prefix);
    all.push(path);
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::localnet::plan::Shape;

    fn line(member: Member) -> String {
        let path = "/data/blocks".into();
        line_on(
            member,
            FeedWiring::Recording {
                path,
                pace: "60/s".into(),
            },
        )
    }

    fn line_on(member: Member, feed: FeedWiring) -> String {
        let shape = Shape {
            validators: 3,
            miners: 4,
            lazy: 0,
            liar: 3,
            slow: 0,
            replicas: 2,
            seed: 1,
        };
        let wiring = Wiring {
            folder: Folder::new("/run"),
            feed,
            ledger: Some(([127, 0, 0, 1], 1000).into()),
            platform: Some(([127, 0, 0, 1], 2000).into()),
            page: None,
            told: BTreeMap::from([(
                Member::Keeper(1),
                vec!["run".into(), "--config=/run/keeper.toml".into()],
            )]),
        };
        let args = wiring.args(member, &NetworkPlan::new(shape).unwrap());
        args.iter()
            .map(|arg| arg.to_str().unwrap())
            .collect::<Vec<_>>()
            .join(" ")
    }

    #[test]
    fn the_platform_reads_the_recording_and_waits_for_all_validators() {
        assert_eq!(
            line(Member::Platform),
            "run --database /run/platform.db --feed replay:/data/blocks --pace 60/s --ledger http://127.0.0.1:1000 \
             --replicas 2 --min-validators 3 --http 127.0.0.1:0 --http-ready-file /run/platform.page"
        );
    }

    #[test]
    fn who_is_only_on_a_living_chain_is_told_what_was_set_up_for_it_and_nothing_else() {
        assert_eq!(line(Member::Keeper(1)), "run --config=/run/keeper.toml");
        assert_eq!(line(Member::Keeper(2)), "");
    }

    #[test]
    fn on_a_living_chain_the_platform_follows_the_node_and_some_miners_check_what_they_are_told() {
        let node = || FeedWiring::Node(Endpoint::new("ws://127.0.0.1:3000"));
        let platform = line_on(Member::Platform, node());
        assert!(
            platform.contains("--feed ws://127.0.0.1:3000 ") && !platform.contains("--pace"),
            "{platform}"
        );
        let lines: Vec<String> = (4..=7).map(|uid| line_on(Member::Miner(uid), node())).collect();
        for line in &lines {
            let checks = line.contains("--node http://127.0.0.1:3000 --check-prestate");
            assert_eq!(checks, line.contains("miner-4") && line.contains("honest"), "{line}");
        }
    }

    #[test]
    fn a_miner_is_told_its_role_and_nothing_of_the_others() {
        let lines: Vec<String> = (4..=7).map(|uid| line(Member::Miner(uid))).collect();
        assert_eq!(
            lines.iter().filter(|line| line.contains("--behaviour liar")).count(),
            3,
            "{lines:?}"
        );
        assert!(lines[0].contains("--hotkey /run/miner-4.hotkey"), "{lines:?}");
    }

    #[test]
    fn each_validator_has_its_own_database_key_and_seed() {
        let (one, two) = (line(Member::Validator(1)), line(Member::Validator(2)));
        assert!(
            one.contains("/run/validator-1.db") && one.contains("--platform http://127.0.0.1:2000"),
            "{one}"
        );
        let seed = |line: &str| line.rsplit(' ').next().unwrap().to_owned();
        assert_ne!(seed(&one), seed(&two));
    }
}
