//! One invariant, in any of the forms that an engine judges, and what can be said of it without judging.

use crate::{
    Address, Comparison, Invariant, U256,
    lang::{Program, Source, View, compared, invariant_text},
};

/// One invariant, in any of its forms.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Watched {
    /// A value in one slot against a constant: the original form.
    Slot(Invariant),
    /// What a view returns against a constant.
    View(ViewInvariant),
    /// Anything that the language can say.
    Program(ProgramInvariant),
}

/// "The value that this view returns compares so with the target."
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ViewInvariant {
    /// Number in its set.
    pub id: u64,
    /// Name for people.
    pub name: String,
    /// What is called.
    pub view: View,
    /// The relation that must hold between what it returns (left) and the target (right).
    pub comparison: Comparison,
    /// A value of the view's type; two's complement when signed.
    pub target: U256,
}

/// A compiled expression that must hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProgramInvariant {
    /// Number in its set.
    pub id: u64,
    /// Name for people.
    pub name: String,
    /// What must hold.
    pub program: Program,
}

impl Watched {
    /// Number in its set.
    #[must_use]
    pub const fn id(&self) -> u64 {
        match self {
            Self::Slot(invariant) => invariant.id,
            Self::View(invariant) => invariant.id,
            Self::Program(invariant) => invariant.id,
        }
    }

    /// The same under another number.
    #[must_use]
    pub fn with_id(mut self, id: u64) -> Self {
        match &mut self {
            Self::Slot(invariant) => invariant.id = id,
            Self::View(invariant) => invariant.id = id,
            Self::Program(invariant) => invariant.id = id,
        }
        self
    }

    /// Name for people.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Slot(invariant) => &invariant.name,
            Self::View(invariant) => &invariant.name,
            Self::Program(invariant) => &invariant.name,
        }
    }

    /// The contract or account that it speaks of: of an expression that of the first term that has one, and zero where none has.
    #[must_use]
    pub fn contract(&self) -> Address {
        match self {
            Self::Slot(invariant) => invariant.contract,
            Self::View(invariant) => invariant.view.contract,
            Self::Program(invariant) => {
                let reads = invariant.program.reads().iter();
                reads
                    .filter_map(|read| read.source.contract())
                    .next()
                    .unwrap_or_default()
            }
        }
    }

    /// What must hold, in the language, with every name resolved; terms carry the labels that their author gave them.
    #[must_use]
    pub fn expression(&self) -> String {
        match self {
            Self::Slot(invariant) => invariant_text(invariant),
            Self::View(invariant) => {
                let view = Source::View(Box::new(invariant.view.clone()));
                compared(&view, invariant.comparison, invariant.target)
            }
            Self::Program(invariant) => format!("{:#}", invariant.program),
        }
    }

    /// What it reads, each source once, in its order, and what it is called.
    #[must_use]
    pub fn sources(&self) -> Vec<(String, Source)> {
        let named = |source: Source| vec![(source.to_string(), source)];
        match self {
            Self::Slot(invariant) => named(Source::Slot {
                contract: invariant.contract,
                slot: invariant.slot,
                value_type: invariant.value_type,
                offset: invariant.offset,
            }),
            Self::View(invariant) => named(Source::View(Box::new(invariant.view.clone()))),
            Self::Program(invariant) => {
                let mut sources: Vec<(String, Source)> = Vec::new();
                for read in invariant.program.reads() {
                    if !sources.iter().any(|(_, source)| *source == read.source) {
                        sources.push((read.label.to_string(), read.source.clone()));
                    }
                }
                sources
            }
        }
    }

    /// Whether a transaction could change what it says that reads and writes only accounts of which `touches` is true. What a view
    /// reads is not known beforehand: it could always be changed, and so could what logs and the block say.
    pub fn could_change(&self, touches: impl Fn(&Address) -> bool) -> bool {
        let program = match self {
            Self::Slot(invariant) => return touches(&invariant.contract),
            Self::View(_) => return true,
            Self::Program(invariant) => &invariant.program,
        };
        let of_transaction = |source: &Source| matches!(source, Source::TxSender | Source::TxTo | Source::TxValue);
        let mut sources = program.reads().iter().map(|read| &read.source);
        // As they are judged: what the transaction itself says breaks nothing that speaks of state, as long as nothing is written.
        sources.clone().all(of_transaction)
            || sources.any(|source| match source {
                Source::Slot { contract: of, .. } | Source::Balance(of) | Source::Nonce(of) | Source::CodeHash(of) => {
                    touches(of)
                }
                Source::View(_) | Source::Logs(_) => true,
                Source::BlockNumber | Source::BlockTimestamp | Source::BaseFee => true,
                Source::TxSender | Source::TxTo | Source::TxValue => false,
            })
    }
}

impl From<Invariant> for Watched {
    fn from(invariant: Invariant) -> Self {
        Self::Slot(invariant)
    }
}

impl From<ProgramInvariant> for Watched {
    fn from(invariant: ProgramInvariant) -> Self {
        Self::Program(invariant)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ValueType, lang};

    const HERE: Address = Address::repeat_byte(0xaa);
    const THERE: Address = Address::repeat_byte(0xbb);

    fn program(text: &str) -> Watched {
        let (there, here) = (format!("{THERE:#x}"), format!("{HERE:#x}"));
        let text = text.replace("THERE", &there).replace("HERE", &here);
        let program = lang::parse(&text, &lang::Names::default()).unwrap();
        let (id, name) = (1, text);
        Watched::Program(ProgramInvariant { id, name, program })
    }

    #[test]
    fn a_transaction_could_change_what_reads_an_account_that_it_touches() {
        let could = |text: &str| program(text).could_change(|account| *account == HERE);
        for text in [
            "slot(HERE, 0x1) >= 1",
            "balance(THERE) + balance(HERE) >= 1",
            "codehash(HERE) == pre",
            "slot(THERE, 0x1) >= 1 or block.number >= 9",
            "call(THERE, 0x01020304, 0, uint256) >= 1",
            "tx.value <= 9 ether",
            "1 < 2",
        ] {
            assert!(could(text), "{text}");
        }
        for text in [
            "slot(THERE, 0x1) >= 1",
            "balance(THERE) >= 1",
            "nonce(THERE) == pre or tx.sender == HERE",
        ] {
            assert!(!could(text), "{text}");
        }
    }

    #[test]
    fn every_form_is_written_in_the_language_and_names_its_contract() {
        let view = View {
            contract: THERE,
            calldata: vec![1, 2, 3, 4].into(),
            word: 0,
            value_type: ValueType::Int(64),
        };
        let view = Watched::View(ViewInvariant {
            id: 1,
            name: String::new(),
            view,
            comparison: Comparison::Ge,
            target: U256::MAX,
        });
        let text = format!("call({THERE:#x}, 0x01020304, 0, int64) >= -1");
        assert_eq!((view.expression(), view.contract()), (text.clone(), THERE));
        assert_eq!(program(&text).expression(), text);
        let labelled = program("block.number >= 1 or slot(HERE, 0x1) \"vault.debt\" <= 7");
        assert_eq!(labelled.contract(), HERE);
        assert!(labelled.expression().contains("\"vault.debt\""));
        assert_eq!(program("block.number >= 1").contract(), Address::ZERO);
        assert_eq!(labelled.with_id(9).id(), 9);
    }
}
