//! What is wrong with an expression: the line, a caret, what was expected.

use std::{fmt, ops::Range};

use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};

/// Why a text is no invariant. Displays as several lines: what is wrong, the line of the text with carets under the place, help.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LangError {
    /// What is wrong, in one line.
    pub message: String,
    /// Where, in bytes of the text.
    pub span: Range<usize>,
    details: Box<Details>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Details {
    /// What stands there or what was expected there; may be empty.
    label: String,
    /// Other places that matter, and what they are.
    context: Vec<(Range<usize>, String)>,
    help: Option<String>,
    /// What the text is called, for instance its file and key.
    origin: Option<String>,
    /// The lines that the places lie in; shortened where they are long.
    excerpt: Excerpt,
}

/// The part of a text around an error.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Excerpt {
    text: String,
    /// Where it starts in the text, in bytes.
    start: usize,
    /// Number of its first line, from 1.
    line: usize,
}

/// Most bytes shown on each side of an error.
const AROUND: usize = 400;
/// Widest line that is written out.
const WIDTH: usize = 160;

impl LangError {
    pub(super) fn new(text: &str, span: Range<usize>, message: impl Into<String>) -> Self {
        let span = on_boundaries(text, &span);
        Self {
            message: message.into(),
            details: Box::new(Details {
                label: String::new(),
                context: Vec::new(),
                help: None,
                origin: None,
                excerpt: Excerpt::around(text, &span),
            }),
            span,
        }
    }

    pub(super) fn label(mut self, label: impl Into<String>) -> Self {
        self.details.label = label.into();
        self
    }

    pub(super) fn context(mut self, span: Range<usize>, label: impl Into<String>) -> Self {
        self.details.context.push((span, label.into()));
        self
    }

    pub(super) fn help(mut self, help: impl Into<String>) -> Self {
        self.details.help = Some(help.into());
        self
    }

    /// The same error, with the name of the text it is in.
    #[must_use]
    pub fn in_text(mut self, origin: impl Into<String>) -> Self {
        self.details.origin = Some(origin.into());
        self
    }

    /// Line and column of the place, both from 1; columns count characters.
    #[must_use]
    pub fn position(&self) -> (usize, usize) {
        let before = self.span.start.saturating_sub(self.details.excerpt.start);
        let before = self.details.excerpt.text.get(..before).unwrap_or_default();
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let column = before.get(line_start..).unwrap_or_default().chars().count();
        (self.details.excerpt.line + before.matches('\n').count(), column + 1)
    }
}

impl std::error::Error for LangError {}

impl fmt::Display for LangError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let excerpt = &self.details.excerpt;
        let inside = |span: &Range<usize>| {
            let start = span.start.checked_sub(excerpt.start)?;
            let end = span.end.saturating_sub(excerpt.start).min(excerpt.text.len());
            (start <= end).then_some(start..end)
        };
        let mut snippet = Snippet::source(excerpt.text.as_str()).line_start(excerpt.line);
        if let Some(origin) = &self.details.origin {
            snippet = snippet.path(origin.as_str());
        }
        if let Some(span) = inside(&self.span) {
            snippet = snippet.annotation(AnnotationKind::Primary.span(span).label(self.details.label.as_str()));
        }
        for (span, label) in &self.details.context {
            if let Some(span) = inside(span) {
                snippet = snippet.annotation(AnnotationKind::Context.span(span).label(label.as_str()));
            }
        }
        let mut group = Level::ERROR.primary_title(self.message.as_str()).element(snippet);
        if let Some(help) = &self.details.help {
            group = group.element(Level::HELP.message(help.as_str()));
        }
        f.write_str(&Renderer::plain().term_width(WIDTH).render(&[group]))
    }
}

impl Excerpt {
    fn around(text: &str, span: &Range<usize>) -> Self {
        let mut start = text.ceil_char_boundary(span.start.saturating_sub(AROUND));
        let end = text.floor_char_boundary(span.end.min(span.start + AROUND).saturating_add(AROUND));
        // Whole lines, where they are short enough.
        if start > 0
            && let Some(newline) = text.get(start..span.start).and_then(|before| before.find('\n'))
        {
            start += newline + 1;
        }
        let line = text.get(..start).map_or(1, |before| before.matches('\n').count() + 1);
        Self {
            text: text.get(start..end).unwrap_or_default().to_owned(),
            start,
            line,
        }
    }
}

fn on_boundaries(text: &str, span: &Range<usize>) -> Range<usize> {
    let start = text.floor_char_boundary(span.start);
    start..text.ceil_char_boundary(span.end.max(start))
}
