//! A file of rows is either read or refused. The error is short, and file contents in it contain no
//! control or invisible characters. The first byte of the input selects how the file is read,
//! and with one of its bits, the next four bytes are the dialect.
#![no_main]

use std::io::Cursor;

use libfuzzer_sys::fuzz_target;
use opaque_fuzz::schema;
use opaque_source::{
    Compression, Delimiter, Dialect, Encoded, Format, Input, Mark, Quotes, Reader, Settings,
};

/// Maximum bytes of an error, including the file's name.
const ERROR_BYTES: usize = 2048;

fuzz_target!(|input: &[u8]| {
    let Some((choice, bytes)) = input.split_first() else { return };
    let format = if choice & 1 == 0 { Format::Csv } else { Format::Json };
    let quotes = if choice & 2 == 0 { Quotes::Strict } else { Quotes::Lenient };
    let compression = match choice & 12 {
        4 => Compression::Gzip,
        8 => Compression::Zstd,
        _ => Compression::None,
    };
    let (dialect, bytes) = match bytes {
        [delimiter, quote, comment, rest, bytes @ ..] if choice & 32 != 0 => {
            (dialect([*delimiter, *quote, *comment, *rest]), bytes)
        }
        _ => (Dialect::default(), bytes),
    };
    let source = Cursor::new(bytes.to_vec());
    let input = Input::stream("f".to_owned(), source, None, compression);
    let ignore_extra = choice & 16 != 0;
    let settings = Settings { dialect, quotes, ignore_extra, ..Settings::default() };
    let reader = input.and_then(|input| Reader::new(input, Some(format), &schema(), &settings));
    let error = match reader {
        Err(error) => error,
        Ok(reader) => match Encoded::new(reader).find_map(Result::err) {
            Some(error) => error,
            None => return,
        },
    };
    for text in [error.to_string(), error.for_status()] {
        assert!(text.len() < ERROR_BYTES, "{} bytes", text.len());
        assert!(!text.chars().any(is_unseen), "{text:?}");
    }
});

/// A dialect with these characters. Those that no caller can set leave the setting to detection.
fn dialect([delimiter, quote, comment, rest]: [u8; 4]) -> Dialect {
    let text = |byte: u8| char::from(byte).to_string();
    let mark = |byte: u8| match byte {
        0 => Some(Mark::None),
        _ => text(byte).parse().ok(),
    };
    let names = || schema().columns().iter().map(|column| column.name.clone()).collect();
    Dialect {
        delimiter: text(delimiter).parse::<Delimiter>().ok(),
        quote: mark(quote),
        comment: mark(comment),
        header: match rest & 3 {
            1 => Some(true),
            2 => Some(false),
            _ => None,
        },
        columns: if rest & 4 == 0 { Vec::new() } else { names() },
        skip: (rest >> 3).into(),
    }
}

/// White space other than blanks, and characters that are invisible or change how their neighbours
/// are displayed.
fn is_unseen(c: char) -> bool {
    c.is_control()
        || (c.is_whitespace() && c != ' ')
        || matches!(
            u32::from(c),
            0xad | 0x34f
                | 0x61c
                | 0x115f..=0x1160
                | 0x180b..=0x180f
                | 0x200b..=0x200f
                | 0x202a..=0x202e
                | 0x2060..=0x206f
                | 0x3164
                | 0xfe00..=0xfe0f
                | 0xfeff
                | 0xfff0..=0xfffb
                | 0xe0000..=0xe0fff
        )
}
