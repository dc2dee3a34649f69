//! Recognizes unsupported formats, so that errors can name them.

/// Number of bytes to inspect. The mark of a tar archive is at byte 257.
pub(super) const HEAD: usize = 512;

/// An unsupported format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Foreign {
    /// Its name.
    pub(super) name: &'static str,
    /// What to do.
    pub(super) remedy: &'static str,
}

const UTF_16: Foreign =
    Foreign { name: "UTF-16 text", remedy: "convert it: iconv -f UTF-16 -t UTF-8" };
const UTF_16LE: Foreign =
    Foreign { name: "UTF-16 text", remedy: "convert it: iconv -f UTF-16LE -t UTF-8" };
const UTF_16BE: Foreign =
    Foreign { name: "UTF-16 text", remedy: "convert it: iconv -f UTF-16BE -t UTF-8" };
const UTF_32: Foreign =
    Foreign { name: "UTF-32 text", remedy: "convert it: iconv -f UTF-32 -t UTF-8" };
const UTF_32LE: Foreign =
    Foreign { name: "UTF-32 text", remedy: "convert it: iconv -f UTF-32LE -t UTF-8" };
const UTF_32BE: Foreign =
    Foreign { name: "UTF-32 text", remedy: "convert it: iconv -f UTF-32BE -t UTF-8" };
const BZIP2: Foreign = Foreign { name: "bzip2", remedy: "decompress it: bzip2 -d" };
const TAR: Foreign = Foreign { name: "a tar archive", remedy: "take the file out of it: tar -xf" };
const ZIP: Foreign = Foreign {
    name: "a zip archive",
    remedy: "take the file out of it: unzip; a spreadsheet (.xlsx, .ods) is one too: save it as CSV",
};

/// First bytes of the formats. If one mark is a prefix of another, the longer comes first.
const MARKS: &[(&[u8], Foreign)] = &[
    (b"\xfd7zXZ\0", Foreign { name: "xz", remedy: "decompress it: xz -d" }),
    (b"PK\x03\x04", ZIP),
    (b"PK\x05\x06", ZIP),
    (b"\x04\x22\x4d\x18", Foreign { name: "lz4", remedy: "decompress it: lz4 -d" }),
    (
        b"7z\xbc\xaf\x27\x1c",
        Foreign { name: "a 7z archive", remedy: "take the file out of it: 7z x" },
    ),
    (b"\xff\xfe\0\0", UTF_32),
    (b"\0\0\xfe\xff", UTF_32),
    (b"\xff\xfe", UTF_16),
    (b"\xfe\xff", UTF_16),
];

/// The format according to the first [`HEAD`] bytes of a file.
pub(super) fn foreign(head: &[u8]) -> Option<Foreign> {
    let mark = MARKS.iter().find(|(mark, _)| head.starts_with(mark)).map(|(_, format)| *format);
    let tar = || head.get(257..262) == Some(b"ustar");
    mark.or_else(|| is_bzip2(head).then_some(BZIP2))
        .or_else(|| tar().then_some(TAR))
        .or_else(|| wide(head))
}

/// The mark of bzip2 is text with which a header may begin, but the bytes after it are not.
fn is_bzip2(head: &[u8]) -> bool {
    let block: [&[u8]; 2] = [b"1AY&SY", b"\x17rE8P\x90"];
    let behind = head.get(4..).unwrap_or_default();
    head.starts_with(b"BZh") && block.iter().any(|mark| behind.starts_with(mark))
}

/// Recognizes wide characters without a byte order mark. Header names are mostly ASCII, so the
/// other bytes of each character are zero.
fn wide(head: &[u8]) -> Option<Foreign> {
    const CHARACTERS: usize = 8;
    let (characters, _) = head.as_chunks::<4>();
    let characters =
        characters.get(..characters.len().min(CHARACTERS)).filter(|all| !all.is_empty())?;
    let zeros = |at: usize| characters.iter().filter(|bytes| bytes.get(at) == Some(&0)).count();
    let all = characters.len();
    match [0, 1, 2, 3].map(zeros) {
        [0, a, 0, b] if a == all && b == all => Some(UTF_16LE),
        [a, 0, b, 0] if a == all && b == all => Some(UTF_16BE),
        [0, a, b, c] if [a, b, c] == [all; 3] => Some(UTF_32LE),
        [a, b, c, 0] if [a, b, c] == [all; 3] => Some(UTF_32BE),
        _ => None,
    }
}
