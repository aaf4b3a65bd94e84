//! Which invariants to judge: a set file in TOML or JSON, the original form's list, or what a recorded case itself carries.

use std::{
    fmt::Write as _,
    fs::File,
    io::{BufRead, BufReader, Read},
    path::Path,
};

use engine::{
    ProgramInvariant, WatchSet, Watched,
    lang::{Format, InvariantSet, MAX_SET_TEXT, Names, Problem, SetError, from_case_invariant, parse},
};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::exit::Failure;

/// Stands for the invariants of the case itself.
pub(crate) const OF_THE_CASE: &str = "case";
/// Errors of a set that are shown.
const SHOWN: usize = 10;
/// Most bytes of a layout or ABI that a set names.
const MAX_DESCRIPTION: u64 = 64 * 1024 * 1024;

/// Invariants, ready to be judged. Each has its place in the set as its id.
pub(crate) struct Invariants {
    pub(crate) set: WatchSet,
    /// What each says, as it was written.
    pub(crate) expressions: Vec<String>,
    /// The chain they are about, where said.
    chain: Option<u64>,
}

impl Invariants {
    /// Reads a set file.
    pub(crate) fn read(path: &Path) -> Result<Self, Failure> {
        let text = read_text(path, MAX_SET_TEXT as u64).map_err(|why| unreadable(path, why))?;
        let format = Format::of_file(&path.to_string_lossy());
        let folder = path.parent().unwrap_or_else(|| Path::new(""));
        let mut load = |name: &str| read_text(&folder.join(name), MAX_DESCRIPTION);
        let set = InvariantSet::parse(&text, format, &mut load).map_err(|errors| told(path, &errors))?;
        let mut watched = Vec::with_capacity(set.invariants.len());
        let mut expressions = Vec::with_capacity(set.invariants.len());
        for (id, invariant) in (0_u64..).zip(set.invariants) {
            watched.push(match invariant.plain {
                Some(mut plain) => {
                    plain.id = id;
                    Watched::Slot(plain)
                }
                None => Watched::Program(ProgramInvariant {
                    id,
                    name: invariant.name,
                    program: invariant.program,
                }),
            });
            expressions.push(invariant.expression);
        }
        Self::new(path, watched, expressions, set.chain)
    }

    /// Those that a case in a file carries, written in the language.
    pub(crate) fn of_case(path: &Path, id: &str) -> Result<Self, Failure> {
        let entries = recorded(path, id)?;
        let mut watched = Vec::with_capacity(entries.len());
        let mut expressions = Vec::with_capacity(entries.len());
        for (place, entry) in (0_u64..).zip(entries) {
            let at = |why: String| Failure::Input(format!("{}: /invariants/{place}: {why}", path.display()));
            let invariant = from_case_invariant(&entry).map_err(|error| at(error.to_string()))?;
            let program =
                parse(&invariant.expression, &Names::default()).map_err(|error| Failure::Placed(error.to_string()))?;
            watched.push(Watched::Program(ProgramInvariant {
                id: place,
                name: invariant.name,
                program,
            }));
            expressions.push(invariant.expression);
        }
        Self::new(path, watched, expressions, None)
    }

    fn new(path: &Path, watched: Vec<Watched>, expressions: Vec<String>, chain: Option<u64>) -> Result<Self, Failure> {
        if watched.is_empty() {
            return Err(Failure::Input(format!(
                "{}: holds no invariant; there is nothing to judge",
                path.display()
            )));
        }
        let set = WatchSet::new(watched).map_err(|error| Failure::Input(format!("{}: {error}", path.display())))?;
        Ok(Self {
            set,
            expressions,
            chain,
        })
    }

    /// Refuses a case of another chain than the set is about.
    pub(crate) fn check_chain(&self, case: &str, chain: u64) -> Result<(), Failure> {
        match self.chain {
            Some(of_set) if of_set != chain => Err(Failure::Input(format!(
                "the invariants are about chain {of_set}, but case {case} happened on chain {chain}; give those of its chain"
            ))),
            _ => Ok(()),
        }
    }
}

fn unreadable(path: &Path, why: impl std::fmt::Display) -> Failure {
    Failure::Input(format!(
        "{}: cannot be read: {why}; check path and permissions",
        path.display()
    ))
}

fn read_text(path: &Path, most: u64) -> Result<String, String> {
    let mut text = String::new();
    let file = File::open(path).map_err(|error| error.to_string())?;
    let read = file
        .take(most + 1)
        .read_to_string(&mut text)
        .map_err(|error| error.to_string())?;
    if read as u64 > most {
        return Err(format!("it has more than {most} bytes"));
    }
    Ok(text)
}

/// What is wrong with a set: one line for an entry, the place in the text for an expression.
fn told(path: &Path, errors: &[SetError]) -> Failure {
    let line = |error: &SetError| format!("{}: {error}", path.display());
    if let [error] = errors
        && matches!(error.problem, Problem::Entry(_))
    {
        return Failure::Input(line(error));
    }
    let mut text = String::new();
    for error in errors.iter().take(SHOWN) {
        let _infallible = match &error.problem {
            Problem::Expression(error) => writeln!(text, "{error}"),
            Problem::Entry(_) => writeln!(text, "error: {}", line(error)),
        };
    }
    let rest = errors.len().saturating_sub(SHOWN);
    let _infallible = match rest {
        0 => write!(
            text,
            "error: {}: {} wrong; nothing was judged",
            path.display(),
            entries(errors.len())
        ),
        _ => write!(
            text,
            "error: {}: {rest} more of {} wrong; nothing was judged",
            path.display(),
            entries(errors.len())
        ),
    };
    Failure::Placed(text)
}

fn entries(number: usize) -> String {
    if number == 1 {
        "1 entry is".to_owned()
    } else {
        format!("{number} entries are")
    }
}

/// A case as far as its invariants go.
#[derive(Deserialize)]
struct Recorded {
    id: String,
    #[serde(default)]
    invariants: Vec<Map<String, Value>>,
}

/// The invariants that a case of this id carries, as they stand in the file.
fn recorded(path: &Path, id: &str) -> Result<Vec<Map<String, Value>>, Failure> {
    let mut reader = BufReader::new(File::open(path).map_err(|error| unreadable(path, error))?);
    let start = reader.fill_buf().map_err(|error| unreadable(path, error))?;
    let reader: Box<dyn Read> = if start.starts_with(&[0x1f, 0x8b]) {
        Box::new(flate2::bufread::MultiGzDecoder::new(reader))
    } else if start.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) {
        Box::new(zstd::Decoder::with_buffer(reader).map_err(|error| unreadable(path, error))?)
    } else {
        Box::new(reader)
    };
    let cases = serde_json::Deserializer::from_reader(BufReader::new(reader)).into_iter::<Recorded>();
    for case in cases {
        let case = case.map_err(|error| Failure::Input(format!("{}: {error}", path.display())))?;
        if case.id == id {
            return Ok(case.invariants);
        }
    }
    Err(Failure::Input(format!("{}: holds no case {id:?}", path.display())))
}

/// True for the word that stands for the invariants of the case.
pub(crate) fn is_of_the_case(path: &Path) -> bool {
    path.as_os_str() == OF_THE_CASE && !path.exists()
}
