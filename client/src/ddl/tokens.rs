//! A cursor over SQL tokens. White space and comments are skipped.

use sqlparser::dialect::SQLiteDialect;
use sqlparser::tokenizer::{Token, TokenWithSpan, Tokenizer};

use super::DdlError;

pub(super) struct Tokens {
    tokens: Vec<TokenWithSpan>,
    position: usize,
    /// Line of the last token, reported when something is missing after it.
    last_line: u64,
}

impl Tokens {
    pub(super) fn new(text: &str) -> Result<Self, DdlError> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let mut tokens =
            Tokenizer::new(&SQLiteDialect {}, text).tokenize_with_location().map_err(|error| {
                DdlError::Token { line: error.location.line, message: error.message }
            })?;
        tokens.retain(|token| !matches!(token.token, Token::Whitespace(_) | Token::EOF));
        let last_line = tokens.last().map_or(1, |token| token.span.end.line);
        Ok(Self { tokens, position: 0, last_line })
    }

    /// Line of the next token.
    pub(super) fn line(&self) -> u64 {
        self.tokens.get(self.position).map_or(self.last_line, |token| token.span.start.line)
    }

    pub(super) fn take(&mut self, wanted: &Token) -> bool {
        let found = self.peek() == Some(wanted);
        self.position += usize::from(found);
        found
    }

    pub(super) fn expect(&mut self, wanted: &Token, name: &'static str) -> Result<(), DdlError> {
        if self.take(wanted) { Ok(()) } else { Err(self.expected(name)) }
    }

    pub(super) fn expect_end(&self) -> Result<(), DdlError> {
        if self.peek().is_none() {
            Ok(())
        } else {
            Err(self.expected("the end of the file: one file declares one table"))
        }
    }

    /// A whole number.
    pub(super) fn number(&mut self) -> Result<u64, DdlError> {
        let number = match self.peek() {
            Some(Token::Number(digits, _)) => digits.parse().ok(),
            _ => None,
        };
        let number = number.ok_or_else(|| self.expected("a whole number"))?;
        self.position += 1;
        Ok(number)
    }

    /// Text in quotes of any kind, or a word.
    pub(super) fn text(&mut self, expected: &'static str) -> Result<String, DdlError> {
        if let Some(Token::SingleQuotedString(text)) = self.peek() {
            let text = text.clone();
            self.position += 1;
            return Ok(text);
        }
        self.name(expected)
    }

    /// The next token if it is an unquoted word.
    pub(super) fn peek_word(&self) -> Option<&str> {
        match self.peek() {
            Some(Token::Word(word)) if word.quote_style.is_none() => Some(&word.value),
            _ => None,
        }
    }

    /// Whether the unquoted words starting at token number `skip` are these.
    pub(super) fn ahead(&self, skip: usize, words: &[&str]) -> bool {
        let tokens = self.tokens.get(self.position + skip..).unwrap_or_default();
        tokens.len() >= words.len()
            && tokens.iter().zip(words).all(|(token, wanted)| match &token.token {
                Token::Word(word) => {
                    word.quote_style.is_none() && word.value.eq_ignore_ascii_case(wanted)
                }
                _ => false,
            })
    }

    /// Whether the token after the next `skip` tokens is this one.
    pub(super) fn is_ahead(&self, skip: usize, wanted: &Token) -> bool {
        self.tokens.get(self.position + skip).is_some_and(|token| token.token == *wanted)
    }

    /// Whether the token after the next `skip` tokens is a word, quoted or not.
    pub(super) fn word_ahead(&self, skip: usize) -> bool {
        let token = self.tokens.get(self.position + skip);
        token.is_some_and(|token| matches!(token.token, Token::Word(_)))
    }

    /// Skips this many tokens.
    pub(super) fn skip(&mut self, tokens: usize) {
        self.position += tokens;
    }

    pub(super) fn take_word(&mut self, wanted: &str) -> bool {
        let found = self.peek_word().is_some_and(|word| word.eq_ignore_ascii_case(wanted));
        self.position += usize::from(found);
        found
    }

    pub(super) fn expect_word(
        &mut self,
        wanted: &str,
        expected: &'static str,
    ) -> Result<(), DdlError> {
        if self.take_word(wanted) { Ok(()) } else { Err(self.expected(expected)) }
    }

    /// A word, quoted or not.
    pub(super) fn name(&mut self, expected: &'static str) -> Result<String, DdlError> {
        match self.peek() {
            Some(Token::Word(word)) => {
                let name = word.value.clone();
                self.position += 1;
                Ok(name)
            }
            _ => Err(self.expected(expected)),
        }
    }

    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.position).map(|token| &token.token)
    }

    fn expected(&self, expected: &'static str) -> DdlError {
        let found = self.peek().map_or("the end of the file".to_owned(), |t| format!("`{t}`"));
        DdlError::Expected { line: self.line(), expected, found }
    }
}
