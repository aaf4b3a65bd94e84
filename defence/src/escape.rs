//! Escaping: what comes from a chain or a miner is text in an alert, never markup.
//!
//! Pure. Each format has its own rule, from the channel's own documentation.

use serde::Deserialize;

/// How a channel reads text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// As it is.
    Plain,
    /// Telegram's `MarkdownV2` (Bot API, "Formatting options").
    MarkdownV2,
    /// Telegram's `HTML`, and HTML anywhere.
    Html,
    /// Slack's mrkdwn: `&`, `<` and `>` are control characters (Slack, "Formatting text for app surfaces").
    Mrkdwn,
    /// Discord's markdown.
    Discord,
}

/// `text`, so that `format` shows it as it is. Control characters other than a newline or a tab become a space.
#[must_use]
pub fn escape(format: Format, text: &str) -> String {
    let mut escaped = String::with_capacity(text.len() + text.len() / 8);
    for symbol in text.chars() {
        let symbol = if symbol.is_control() && !matches!(symbol, '\n' | '\t') {
            ' '
        } else {
            symbol
        };
        match (format, symbol) {
            (
                Format::MarkdownV2,
                '_' | '*' | '[' | ']' | '(' | ')' | '~' | '`' | '>' | '#' | '+' | '-' | '=' | '|' | '{' | '}' | '.'
                | '!' | '\\',
            )
            | (
                Format::Discord,
                '_' | '*' | '[' | ']' | '(' | ')' | '~' | '`' | '>' | '#' | '-' | '|' | '\\' | '<' | ':' | '@',
            ) => {
                escaped.push('\\');
                escaped.push(symbol);
            }
            (Format::Html | Format::Mrkdwn, '&') => escaped.push_str("&amp;"),
            (Format::Html | Format::Mrkdwn, '<') => escaped.push_str("&lt;"),
            (Format::Html | Format::Mrkdwn, '>') => escaped.push_str("&gt;"),
            (Format::Html, '"') => escaped.push_str("&quot;"),
            // mrkdwn has no escape for its own marks: a zero-width space before one keeps it from opening anything.
            (Format::Mrkdwn, '*' | '_' | '~' | '`') => {
                escaped.push('\u{200b}');
                escaped.push(symbol);
            }
            (_, symbol) => escaped.push(symbol),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn each_format_has_its_rule() {
        let hostile = "a_b <@U1> *x* [l](http://e) & 1.5!";
        assert_eq!(escape(Format::Plain, hostile), hostile);
        assert_eq!(
            escape(Format::MarkdownV2, hostile),
            r"a\_b <@U1\> \*x\* \[l\]\(http://e\) & 1\.5\!"
        );
        assert_eq!(
            escape(Format::Html, hostile),
            "a_b &lt;@U1&gt; *x* [l](http://e) &amp; 1.5!"
        );
        assert!(!escape(Format::Mrkdwn, "<!channel> <@U1>").contains('<'));
        assert_eq!(escape(Format::Discord, "@everyone **x**"), r"\@everyone \*\*x\*\*");
        assert_eq!(escape(Format::Plain, "a\r\u{7}b\n"), "a  b\n");
    }

    proptest! {
        #[test]
        fn markdown_v2_never_has_a_bare_mark(text in "\\PC{0,60}") {
            let escaped = escape(Format::MarkdownV2, &text);
            let mut symbols = escaped.chars();
            let mut plain = String::new();
            while let Some(symbol) = symbols.next() {
                if symbol == '\\' {
                    plain.extend(symbols.next());
                } else {
                    prop_assert!(!"_*[]()~`>#+-=|{}.!".contains(symbol), "bare {symbol} in {escaped}");
                    plain.push(symbol);
                }
            }
            prop_assert_eq!(plain, escape(Format::Plain, &text));
        }

        #[test]
        fn html_and_mrkdwn_have_no_tags(text in any::<String>()) {
            for format in [Format::Html, Format::Mrkdwn] {
                let escaped = escape(format, &text);
                prop_assert!(!escaped.contains('<') && !escaped.contains('>'));
            }
        }
    }
}
