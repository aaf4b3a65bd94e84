//! `ledger wallet`: keys made, taken over, listed and shown, where btcli's users keep theirs.
//!
//! Nothing asks on a terminal: a secret is named by `env:NAME` or `file:PATH`. Only addresses are printed.

use std::path::{Path, PathBuf};

use chain::keyfile::password::{Password, SecretSource};
use chain::wallets::WalletArgs;
use chain::wallets::list::{self, Key, Wallet};
use chain::{Keypair, keyfile, mnemonic, table};
use clap::Subcommand;
use comfy_table::Table;
use node::cli;
use node::exit::{Failure, OrConfiguration};

#[derive(Debug, Subcommand)]
pub(super) enum WalletCommand {
    /// Make a key (never overwrites one) and print its address
    New {
        #[command(flatten)]
        place: Place,
        #[command(flatten)]
        keeping: Keeping,
        /// Write the key's twelve words into this new file too, to be kept elsewhere
        #[arg(long, value_name = "FILE")]
        words_to: Option<PathBuf>,
    },
    /// Take a key over from its words, its seed or an unencrypted key file, and print its address
    Import {
        #[command(flatten)]
        place: Place,
        #[command(flatten)]
        keeping: Keeping,
        /// Where the words, the seed or the key file's text is: env:NAME or file:PATH
        #[arg(long, value_name = "PLACE")]
        from: SecretSource,
    },
    /// List the wallets: names, addresses, how keys are kept
    List {
        #[command(flatten)]
        wallet: WalletArgs,
        /// Print JSON instead of a table
        #[arg(long)]
        json: bool,
    },
    /// Print the address of a key; of an encrypted one its secret is checked too where there is a password
    Show {
        #[command(flatten)]
        place: Place,
    },
}

/// Which key file is meant.
#[derive(Debug, clap::Args)]
pub(super) struct Place {
    /// The key's file; without it, the wallet's hotkey
    path: Option<PathBuf>,
    #[command(flatten)]
    wallet: WalletArgs,
    /// The wallet's coldkey instead of its hotkey
    #[arg(long, conflicts_with = "path")]
    coldkey: bool,
}

impl Place {
    fn file(&self) -> Result<PathBuf, Failure> {
        match &self.path {
            None if self.coldkey => self.wallet.coldkey_file(),
            path => self.wallet.which(path.as_deref()),
        }
        .or_configuration()
    }

    /// The password that the flags or the environment have for `path`.
    fn password(&self, path: &Path) -> Result<Option<Password>, Failure> {
        match self.wallet.password().or_configuration()? {
            None => Password::from_environment(path).or_configuration(),
            named => Ok(named),
        }
    }

    /// The password under which a new key is put at `path`. A coldkey holds what others are after: it needs one, or a word that says
    /// that none is wanted.
    fn new_password(&self, path: &Path, keeping: &Keeping) -> Result<Option<Password>, Failure> {
        let password = self.password(path)?;
        match (&password, keeping.no_password) {
            (Some(_), true) => Err(Failure::configuration(eyre::eyre!(
                "--no-password, but there is a password for {}",
                path.display()
            ))),
            (None, false) if self.coldkey => Err(Failure::configuration(eyre::eyre!(
                "a coldkey is kept under a password: say where it is by --wallet.password env:NAME or file:PATH, or --no-password"
            ))),
            _ => Ok(password),
        }
    }
}

/// How a new key is kept.
#[derive(Debug, clap::Args)]
pub(super) struct Keeping {
    /// Keep a coldkey in plain
    #[arg(long)]
    no_password: bool,
}

pub(super) fn run(command: &WalletCommand) -> Result<(), Failure> {
    match command {
        WalletCommand::New {
            place,
            keeping,
            words_to,
        } => {
            let path = place.file()?;
            let password = place.new_password(&path, keeping)?;
            let (words, pair) = mnemonic::generate();
            keyfile::write_with(&path, &pair, Some(&words), password.as_ref()).or_configuration()?;
            if let Some(file) = words_to {
                keyfile::write_words(file, &words).or_configuration()?;
            }
            println!("{}", pair.account());
        }
        WalletCommand::Import { place, keeping, from } => {
            let path = place.file()?;
            let password = place.new_password(&path, keeping)?;
            let text = from.text().or_configuration()?;
            let pair =
                keyfile::parse(&text).map_err(|reason| Failure::configuration(eyre::eyre!("--from: {reason}")))?;
            keyfile::write_with(&path, &pair, words(&text, &pair), password.as_ref()).or_configuration()?;
            println!("{}", pair.account());
        }
        WalletCommand::List { wallet, json } => show_all(wallet, *json)?,
        WalletCommand::Show { place } => {
            let path = place.file()?;
            let password = place.password(&path)?;
            println!("{}", keyfile::address(&path, password.as_ref()).or_configuration()?);
        }
    }
    Ok(())
}

/// The text itself, where it is the words of the key: they go into its file.
fn words<'a>(text: &'a str, pair: &Keypair) -> Option<&'a str> {
    let text = text.trim();
    let seed = mnemonic::seed(text).ok()?;
    (Keypair::from_seed(*seed).account() == pair.account()).then_some(text)
}

fn show_all(wallet: &WalletArgs, json: bool) -> Result<(), Failure> {
    let mut wallets = list::wallets(&wallet.wallets().or_configuration()?).or_configuration()?;
    if let Some(name) = &wallet.name {
        wallets.retain(|wallet| wallet.name == *name);
    }
    cli::print(&wallets, json, |wallets| keys(wallets).to_string())
}

fn keys(wallets: &[Wallet]) -> Table {
    let mut table = table::empty(&["wallet", "key", "kept", "address"], &[]);
    for wallet in wallets {
        let row = |kind: &str, key: &Key| {
            let address = key.address.map(|address| address.to_string());
            [
                wallet.name.clone(),
                kind.to_owned(),
                key.form.name().to_owned(),
                address.or_else(|| key.problem.clone()).unwrap_or_default(),
            ]
        };
        if let Some(key) = &wallet.coldkey {
            table.add_row(row("coldkey", key));
        }
        for key in &wallet.hotkeys {
            table.add_row(row(&format!("hotkeys/{}", key.name), key));
        }
    }
    table
}
