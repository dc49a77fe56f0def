//! Puts values into a script that a template made, each as one word.
//!
//! A template's output has marks where values belong. Single quotes keep a value together only
//! where the shell reads them as quotes: not within double quotes, not in a here-document, not in
//! an arithmetic expression. So this follows the shell's quoting from the beginning. Where it is
//! certain that a word stands, any value may stand there. Anywhere else, and after what it does not
//! follow, a value may only have characters that mean nothing to the shell; refuses every other.

use crate::shell::{is_inert_text, quoted};

/// Before the number of a value. No template or value has control characters.
pub(crate) const MARK_START: char = '\u{1}';

/// After the number of a value.
pub(crate) const MARK_END: char = '\u{2}';

/// Deepest nesting of quotes and substitutions.
const NESTING_MAX: usize = 64;

/// A value that cannot be quoted where it stands.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error(
    "line {line} of the script has a value inside quotes, a here-document, a comment or an expression, where {value:?} \
     cannot be quoted. The template has to use the value as a word, without quotes around it"
)]
pub struct Unplaceable {
    /// In the template's output, from 1.
    pub line: usize,
    /// Its beginning.
    pub value: String,
}

/// What the shell reads at a place.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Frame {
    /// Words. `substitution`: within `$(…)`, of which so many parentheses are open.
    Words { substitution: bool, open: u32 },
    /// Within double quotes.
    Double,
    /// Within single quotes.
    Single,
    /// Within `$'…'`.
    DollarSingle,
    /// After `#`, to the end of the line.
    Comment,
    /// Within `${…}`.
    Braces,
    /// Within `$((…))` or `((…))`; so many parentheses are open.
    Arithmetic { open: u32 },
}

/// A here-document that begins with the next line.
#[derive(Clone, Debug)]
struct HereDocument {
    delimiter: String,
    strips_tabs: bool,
    /// How many frames were open where it was announced.
    depth: usize,
}

struct Placer<'v> {
    text: Vec<char>,
    at: usize,
    values: &'v [String],
    out: String,
    frames: Vec<Frame>,
    /// Something came that this does not follow.
    is_unsure: bool,
    pending: Vec<HereDocument>,
    line: usize,
}

/// Replaces each mark by its value.
pub(crate) fn place(text: &str, values: &[String]) -> Result<String, Unplaceable> {
    let mut placer = Placer {
        text: text.chars().collect(),
        at: 0,
        values,
        out: String::with_capacity(text.len()),
        frames: vec![Frame::Words { substitution: false, open: 0 }],
        is_unsure: false,
        pending: Vec::new(),
        line: 1,
    };
    while placer.at < placer.text.len() {
        placer.step()?;
    }
    Ok(placer.out)
}

impl Placer<'_> {
    fn peek(&self, ahead: usize) -> Option<char> {
        self.text.get(self.at.saturating_add(ahead)).copied()
    }

    fn before(&self) -> Option<char> {
        self.at.checked_sub(1).and_then(|at| self.text.get(at)).copied()
    }

    fn take(&mut self) -> Option<char> {
        let taken = self.peek(0)?;
        self.at = self.at.saturating_add(1);
        self.line = self.line.saturating_add(usize::from(taken == '\n'));
        self.out.push(taken);
        Some(taken)
    }

    fn take_many(&mut self, count: usize) {
        for _ in 0..count {
            self.take();
        }
    }

    fn frame(&self) -> Frame {
        self.frames.last().copied().unwrap_or(Frame::Comment)
    }

    fn enter(&mut self, frame: Frame) {
        self.is_unsure |= self.frames.len() >= NESTING_MAX;
        if !self.is_unsure {
            self.frames.push(frame);
        }
    }

    fn leave(&mut self) {
        if self.frames.len() > 1 {
            self.frames.pop();
        } else {
            self.is_unsure = true;
        }
    }

    fn set(&mut self, frame: Frame) {
        if let Some(last) = self.frames.last_mut() {
            *last = frame;
        }
    }

    fn step(&mut self) -> Result<(), Unplaceable> {
        let Some(next) = self.peek(0) else { return Ok(()) };
        if next == MARK_START {
            let is_word = !self.is_unsure && matches!(self.frame(), Frame::Words { .. });
            return self.value(is_word);
        }
        let is_base = matches!(self.frame(), Frame::Words { .. } | Frame::Comment);
        // A carriage return belongs to the word beside it. A here-document announced elsewhere
        // begins where only the shell knows.
        if next == '\r' || (next == '\n' && !self.pending.is_empty() && !is_base) {
            self.is_unsure = true;
        }
        if next == '`' && self.frame() != Frame::Single && self.frame() != Frame::Comment {
            self.is_unsure = true;
        }
        if self.is_unsure {
            self.take();
            return Ok(());
        }
        match self.frame() {
            Frame::Words { substitution, open } => self.in_words(next, substitution, open)?,
            Frame::Double => self.in_double(next),
            Frame::Single => self.until('\'', next),
            Frame::DollarSingle if next == '\\' => self.take_escaped(),
            Frame::DollarSingle => self.until('\'', next),
            Frame::Comment if next == '\n' => self.leave(),
            Frame::Comment => self.take_many(1),
            Frame::Braces => self.in_braces(next),
            Frame::Arithmetic { open } => self.in_arithmetic(next, open),
        }
        Ok(())
    }

    /// A backslash and what it escapes, unless that is a mark.
    fn take_escaped(&mut self) {
        self.take();
        if self.peek(0) != Some(MARK_START) {
            self.take();
        }
    }

    fn until(&mut self, end: char, next: char) {
        self.take();
        if next == end {
            self.leave();
        }
    }

    fn in_words(&mut self, next: char, substitution: bool, open: u32) -> Result<(), Unplaceable> {
        match next {
            '\\' => self.take_escaped(),
            '\'' => self.open(Frame::Single, 1),
            '"' => self.open(Frame::Double, 1),
            '$' => self.dollar(),
            '#' if self.starts_word() => self.open(Frame::Comment, 1),
            '(' if self.peek(1) == Some('(') => self.open(Frame::Arithmetic { open: 2 }, 2),
            '(' => {
                self.set(Frame::Words { substitution, open: open.saturating_add(1) });
                self.take();
            }
            ')' if substitution && open == 0 => self.until(')', next),
            ')' => {
                self.set(Frame::Words { substitution, open: open.saturating_sub(1) });
                self.take();
            }
            '<' if self.peek(1) == Some('<') && self.peek(2) == Some('<') => self.take_many(3),
            '<' if self.peek(1) == Some('<') => self.here_document(),
            '\n' => {
                self.take();
                return self.bodies();
            }
            // The patterns of `case` and of `[[` may have parentheses without a partner.
            'c' if substitution && self.starts_word() && self.is_at("case") => {
                self.is_unsure = true;
            }
            '[' if substitution && self.peek(1) == Some('[') => {
                self.is_unsure = true;
            }
            _ => self.take_many(1),
        }
        Ok(())
    }

    fn open(&mut self, frame: Frame, length: usize) {
        self.take_many(length);
        self.enter(frame);
    }

    fn dollar(&mut self) {
        match (self.peek(1), self.peek(2)) {
            (Some('('), Some('(')) => self.open(Frame::Arithmetic { open: 2 }, 3),
            (Some('('), _) => self.open(Frame::Words { substitution: true, open: 0 }, 2),
            (Some('{'), _) => self.open(Frame::Braces, 2),
            (Some('\''), _) if self.frame() != Frame::Double => self.open(Frame::DollarSingle, 2),
            (Some('['), _) => {
                self.is_unsure = true;
            }
            _ => self.take_many(1),
        }
    }

    fn in_double(&mut self, next: char) {
        match next {
            '\\' => self.take_escaped(),
            '$' => self.dollar(),
            _ => self.until('"', next),
        }
    }

    fn in_braces(&mut self, next: char) {
        match next {
            '}' => self.until('}', next),
            // Whether these quote depends on what is around the braces.
            '\'' | '"' | '\\' | '$' | '`' | '{' => {
                self.is_unsure = true;
            }
            _ => self.take_many(1),
        }
    }

    fn in_arithmetic(&mut self, next: char, open: u32) {
        match next {
            '(' => self.set(Frame::Arithmetic { open: open.saturating_add(1) }),
            ')' if open == 1 => {
                self.take();
                return self.leave();
            }
            ')' => self.set(Frame::Arithmetic { open: open.saturating_sub(1) }),
            // Perhaps it is two subshells after all.
            '\'' | '"' | '\\' | '`' | '#' | '{' => {
                self.is_unsure = true;
            }
            '<' if self.peek(1) == Some('<') => {
                self.is_unsure = true;
            }
            '$' if matches!(self.peek(1), Some('(' | '{' | '\'' | '[')) => {
                self.is_unsure = true;
            }
            _ => {}
        }
        self.take();
    }

    /// Whether a word begins here.
    fn starts_word(&self) -> bool {
        self.before().is_none_or(|before| matches!(before, ' ' | '\t' | '\n' | ';' | '&' | '|' | '(' | ')' | '<' | '>'))
    }

    fn is_at(&self, word: &str) -> bool {
        let ends = self.peek(word.len()).is_none_or(|after| !after.is_ascii_alphanumeric() && after != '_');
        ends && word.chars().enumerate().all(|(ahead, character)| self.peek(ahead) == Some(character))
    }

    /// Takes `<<` and the delimiter.
    fn here_document(&mut self) {
        self.take_many(2);
        let strips_tabs = self.peek(0) == Some('-');
        self.take_many(usize::from(strips_tabs));
        while matches!(self.peek(0), Some(' ' | '\t')) {
            self.take();
        }
        let quote = self.peek(0).filter(|first| matches!(first, '\'' | '"'));
        self.take_many(usize::from(quote.is_some()));
        let mut delimiter = String::new();
        while let Some(next) =
            self.peek(0).filter(|next| next.is_ascii_alphanumeric() || matches!(next, '_' | '-' | '.'))
        {
            delimiter.push(next);
            self.take();
        }
        let ends = match quote {
            Some(quote) => self.peek(0) == Some(quote),
            None => self
                .peek(0)
                .is_none_or(|next| next.is_ascii_whitespace() || matches!(next, ';' | '&' | '|' | ')' | '>')),
        };
        self.take_many(usize::from(quote.is_some() && ends));
        let is_followed =
            self.peek(0).is_none_or(|next| next.is_ascii_whitespace() || matches!(next, ';' | '&' | '|' | ')' | '>'));
        if delimiter.is_empty() || !ends || !is_followed {
            self.is_unsure = true;
            return;
        }
        self.pending.push(HereDocument { delimiter, strips_tabs, depth: self.frames.len() });
    }

    /// Takes the here-documents that begin with this line.
    fn bodies(&mut self) -> Result<(), Unplaceable> {
        for HereDocument { delimiter, strips_tabs, depth } in std::mem::take(&mut self.pending) {
            if depth != self.frames.len() {
                self.is_unsure = true;
                return Ok(());
            }
            while self.at < self.text.len() {
                let start = self.out.len();
                let line = self.line;
                let mut values = 0_usize;
                while let Some(next) = self.peek(0) {
                    if next == MARK_START {
                        values = values.saturating_add(1);
                        self.value(false)?;
                        continue;
                    }
                    self.take();
                    if next == '\n' {
                        break;
                    }
                }
                let written = self.out.get(start..).unwrap_or_default().trim_end_matches('\n');
                let written = if strips_tabs { written.trim_start_matches('\t') } else { written };
                if written == delimiter {
                    if values > 0 {
                        return Err(Unplaceable { line, value: delimiter });
                    }
                    break;
                }
            }
        }
        Ok(())
    }

    /// Replaces the mark that is next.
    fn value(&mut self, is_word: bool) -> Result<(), Unplaceable> {
        let mut number = String::new();
        let joins = matches!(self.before(), Some('$' | '\\'));
        self.at = self.at.saturating_add(1);
        while let Some(next) = self.peek(0) {
            self.at = self.at.saturating_add(1);
            if next == MARK_END {
                break;
            }
            number.push(next);
        }
        let known = number.parse::<usize>().ok().and_then(|number| self.values.get(number));
        let Some(value) = known else {
            return Err(Unplaceable { line: self.line, value: String::new() });
        };
        let is_quotation = matches!(self.frame(), Frame::Single | Frame::Double | Frame::Comment);
        // After these, the shell would read the value's first character as part of something else.
        if joins {
            return Err(Unplaceable { line: self.line, value: value.chars().take(64).collect() });
        }
        if is_word {
            self.out.push_str(&quoted(value));
        } else if is_inert_text(value) || (value.is_empty() && is_quotation && !self.is_unsure) {
            self.out.push_str(value);
        } else {
            return Err(Unplaceable { line: self.line, value: value.chars().take(64).collect() });
        }
        Ok(())
    }
}
