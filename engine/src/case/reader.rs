//! Reading case files: plain, gzip or zstd, one document or many, a file or a folder; one case in memory at a time.

use std::{
    collections::{BTreeMap, VecDeque},
    fmt,
    fs::File,
    io::{self, BufRead, BufReader, Read},
    path::{Path, PathBuf},
    sync::Arc,
};

use serde_json::{Deserializer, StreamDeserializer, de::IoRead, error::Category};

use super::{
    Case, CaseError, Place,
    json::CaseJson,
    parse::{CodeSource, parse},
};
use crate::{B256, Bytes};

type Codes = Arc<BTreeMap<B256, Bytes>>;
type Documents = StreamDeserializer<'static, IoRead<Box<dyn Read + Send>>, CaseJson>;

/// Names of the file that holds the codes of the cases beside it.
const CODES: [&str; 3] = ["codes.json.gz", "codes.json.zst", "codes.json"];
const GZIP: [u8; 2] = [0x1f, 0x8b];
const ZSTD: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// The cases of a file or folder, read as they are asked for.
///
/// After an error it goes on with the next file. How a file is compressed is seen in its first bytes, not in its name.
pub struct CaseFile {
    files: VecDeque<PathBuf>,
    current: Option<Current>,
    codes: CodeFile,
}

struct Current {
    path: Option<PathBuf>,
    documents: Documents,
    cases: usize,
}

impl CaseFile {
    /// Opens a file of one or many cases, or a folder of such files in numeric, then alphabetic order. Codes that a case names by
    /// hash are looked up in `codes.json` (`.gz`, `.zst`) of the same folder.
    ///
    /// # Errors
    /// When it does not exist, cannot be listed, or is a folder without any case file.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, CaseError> {
        let path = path.as_ref();
        let place = Place {
            path: Some(path.to_owned()),
            case: 0,
        };
        let io_error = |error: io::Error| CaseError::Io {
            place: place.clone(),
            why: error.to_string(),
        };
        let files = if std::fs::metadata(path).map_err(io_error)?.is_dir() {
            let mut files = Vec::new();
            for entry in std::fs::read_dir(path).map_err(io_error)? {
                let file = entry.map_err(io_error)?.path();
                if is_case_file(&file) {
                    files.push(file);
                }
            }
            files.sort_by_cached_key(|file| sort_key(file));
            files
        } else {
            vec![path.to_owned()]
        };
        if files.is_empty() {
            return Err(CaseError::Empty { place });
        }
        Ok(Self {
            files: files.into(),
            current: None,
            codes: CodeFile::default(),
        })
    }

    /// Reads cases from memory, in any of the forms that a file has; they must hold their codes themselves.
    ///
    /// # Errors
    /// When the bytes claim to be compressed and are not.
    pub fn from_bytes(bytes: impl Into<Vec<u8>>) -> Result<Self, CaseError> {
        let reader = io::Cursor::new(bytes.into());
        let place = Place { path: None, case: 0 };
        let reader = decompressed(reader).map_err(|error| io_problem(&place, &error))?;
        let current = Current {
            path: None,
            documents: Deserializer::from_reader(reader).into_iter(),
            cases: 0,
        };
        Ok(Self {
            files: VecDeque::new(),
            current: Some(current),
            codes: CodeFile::default(),
        })
    }

    /// The files that are still to be opened.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        self.files.iter().map(PathBuf::as_path)
    }

    fn open_next(&mut self) -> Option<Result<(), CaseError>> {
        let path = self.files.pop_front()?;
        let place = Place {
            path: Some(path.clone()),
            case: 0,
        };
        let reader = File::open(&path).and_then(|file| decompressed(BufReader::with_capacity(1 << 16, file)));
        Some(match reader {
            Err(error) => Err(io_problem(&place, &error)),
            Ok(reader) => {
                self.codes.beside(&path);
                let documents = Deserializer::from_reader(reader).into_iter();
                self.current = Some(Current {
                    path: Some(path),
                    documents,
                    cases: 0,
                });
                Ok(())
            }
        })
    }
}

impl Iterator for CaseFile {
    type Item = Result<Case, CaseError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let Some(current) = &mut self.current else {
                match self.open_next()? {
                    Ok(()) => continue,
                    Err(error) => return Some(Err(error)),
                }
            };
            let document = current.documents.next();
            if document.is_some() {
                current.cases += 1;
            }
            let place = Place {
                path: current.path.clone(),
                case: current.cases,
            };
            match document {
                Some(Ok(json)) => return Some(parse(json, &place, &mut self.codes)),
                // The parser has lost its place: nothing behind this can be read.
                Some(Err(error)) => {
                    self.current = None;
                    return Some(Err(json_problem(place, &error)));
                }
                None => {
                    self.current = None;
                    if place.case == 0 {
                        return Some(Err(CaseError::Empty { place }));
                    }
                }
            }
        }
    }
}

impl fmt::Debug for CaseFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CaseFile")
            .field("files", &self.files)
            .finish_non_exhaustive()
    }
}

/// The codes file of the folder that is being read; loaded when a case first needs it and shared until the folder changes.
#[derive(Default)]
struct CodeFile {
    folder: Option<PathBuf>,
    loaded: Option<Codes>,
}

impl CodeFile {
    fn beside(&mut self, case_file: &Path) {
        let folder = case_file.parent().map(Path::to_owned);
        if folder != self.folder {
            self.folder = folder;
            self.loaded = None;
        }
    }

    fn load(&self) -> Result<Codes, CaseError> {
        let Some(folder) = &self.folder else {
            return Ok(Codes::default());
        };
        let Some(path) = CODES.iter().map(|name| folder.join(name)).find(|path| path.is_file()) else {
            return Ok(Codes::default());
        };
        let place = Place {
            path: Some(path.clone()),
            case: 0,
        };
        let reader = File::open(&path)
            .and_then(|file| decompressed(BufReader::with_capacity(1 << 16, file)))
            .map_err(|error| io_problem(&place, &error))?;
        let codes: BTreeMap<B256, Bytes> = serde_json::from_reader(BufReader::with_capacity(1 << 16, reader))
            .map_err(|error| json_problem(place, &error))?;
        Ok(Arc::new(codes))
    }
}

impl CodeSource for CodeFile {
    fn code(&mut self, code_hash: B256) -> Result<Option<Bytes>, CaseError> {
        let codes = match &self.loaded {
            Some(codes) => codes,
            None => self.loaded.insert(self.load()?),
        };
        Ok(codes.get(&code_hash).cloned())
    }
}

fn is_case_file(path: &Path) -> bool {
    let Some(name) = path.file_name().and_then(|name| name.to_str()) else {
        return false;
    };
    let plain = name.trim_end_matches(".gz").trim_end_matches(".zst");
    path.is_file() && !CODES.contains(&name) && (plain.ends_with(".json") || plain.ends_with(".ndjson"))
}

/// Files named by a number come first, in the order of their numbers.
fn sort_key(path: &Path) -> (u64, String) {
    let name = path
        .file_name()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default();
    let number = name
        .split('.')
        .next()
        .and_then(|stem| stem.parse().ok())
        .unwrap_or(u64::MAX);
    (number, name)
}

fn decompressed(mut reader: impl BufRead + Send + 'static) -> io::Result<Box<dyn Read + Send>> {
    let start = reader.fill_buf()?;
    if start.starts_with(&GZIP) {
        Ok(Box::new(BufReader::with_capacity(
            1 << 16,
            flate2::bufread::MultiGzDecoder::new(reader),
        )))
    } else if start.starts_with(&ZSTD) {
        Ok(Box::new(BufReader::with_capacity(
            1 << 16,
            zstd::Decoder::with_buffer(reader)?,
        )))
    } else {
        Ok(Box::new(reader))
    }
}

fn io_problem(place: &Place, error: &io::Error) -> CaseError {
    let (place, why) = (place.clone(), error.to_string());
    match error.kind() {
        io::ErrorKind::UnexpectedEof => CaseError::Truncated {
            place,
            why: format!("compressed data ends early ({why})"),
        },
        // What flate2 and zstd say of a stream that is none.
        io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData | io::ErrorKind::Other => {
            CaseError::Corrupt { place, why }
        }
        _ => CaseError::Io { place, why },
    }
}

fn json_problem(place: Place, error: &serde_json::Error) -> CaseError {
    let why = error.to_string();
    match error.classify() {
        Category::Eof => CaseError::Truncated { place, why },
        Category::Syntax => CaseError::NotJson { place, why },
        Category::Data => CaseError::Foreign { place, why },
        Category::Io => {
            let kind = error.io_error_kind().unwrap_or(io::ErrorKind::Other);
            io_problem(&place, &io::Error::new(kind, why))
        }
    }
}
