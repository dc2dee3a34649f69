use std::io::Write;

use super::*;

const TEXT: &[u8] = b"id,name\n1,Ana\n2,Bo\n";

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::encode_all(bytes, 1).unwrap()
}

/// A skippable frame about the next one, as pzstd writes it.
fn skippable(kind: u8, content: &[u8]) -> Vec<u8> {
    let length = u32::try_from(content.len()).unwrap().to_le_bytes();
    [&[0x50 + kind, 0x2a, 0x4d, 0x18], &length[..], content].concat()
}

/// One byte at a time, as from a slow pipe.
struct Slow(Cursor<Vec<u8>>);

impl Read for Slow {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = buffer.len().min(1);
        self.0.read(&mut buffer[..length])
    }
}

fn read(bytes: &[u8], compression: Compression) -> Result<Vec<u8>, String> {
    let slow = Slow(Cursor::new(bytes.to_vec()));
    let input = Input::stream("f".to_owned(), slow, None, compression);
    let mut decompressed = input.map_err(|error| error.to_string())?.into_parts().bytes;
    let mut all = Vec::new();
    decompressed.read_to_end(&mut all).map_err(|error| error.to_string())?;
    Ok(all)
}

#[test]
fn frames_members_and_padding_are_read_as_their_programs_do() {
    let (first, second) = TEXT.split_at(11);
    let zeros = [0; 70_000];
    for (what, bytes, compression) in [
        ("plain", TEXT.to_vec(), Compression::None),
        ("gzip", gzip(TEXT), Compression::Gzip),
        ("members", [gzip(first), gzip(second)].concat(), Compression::Gzip),
        ("an empty member", [gzip(first), gzip(b""), gzip(second)].concat(), Compression::Gzip),
        ("padding", [&gzip(TEXT)[..], &[0; 511]].concat(), Compression::Gzip),
        ("much padding", [&gzip(TEXT)[..], &zeros].concat(), Compression::Gzip),
        ("frames", [zstd(first), zstd(second)].concat(), Compression::Zstd),
        ("an empty frame", [zstd(first), zstd(b""), zstd(second)].concat(), Compression::Zstd),
        (
            "pzstd",
            [
                skippable(0, &[9, 0, 0, 0]),
                zstd(first),
                skippable(15, b"x"),
                zstd(second),
                skippable(3, b""),
            ]
            .concat(),
            Compression::Zstd,
        ),
    ] {
        assert_eq!(read(&bytes, compression).as_deref(), Ok(TEXT), "{what}");
    }
    assert_eq!(read(&skippable(7, b"nothing else"), Compression::Zstd).as_deref(), Ok(&b""[..]));
}

#[test]
fn uncompressed_bytes_after_compressed_data_are_refused() {
    let behind = "cannot read f: bytes that are not gzip follow the compressed data: is the file damaged, or two of them in one?";
    for tail in [&b"id,name"[..], b"\0\0\0x", &[&[0; 9][..], &gzip(TEXT)].concat()] {
        assert_eq!(
            read(&[&gzip(TEXT)[..], tail].concat(), Compression::Gzip),
            Err(behind.to_owned())
        );
    }
    for (bytes, compression) in [
        ([&gzip(TEXT)[..], b"\x1fx"].concat(), Compression::Gzip),
        (gzip(TEXT)[..20].to_vec(), Compression::Gzip),
        (zstd(TEXT)[..20].to_vec(), Compression::Zstd),
        ([&zstd(TEXT)[..], b"x"].concat(), Compression::Zstd),
        ([&zstd(TEXT)[..], &skippable(0, b"abc")[..9]].concat(), Compression::Zstd),
    ] {
        read(&bytes, compression).unwrap_err();
    }
}

#[test]
fn formats_that_are_not_read_are_named_with_what_to_do() {
    let wide = |width: usize, big: bool, text: &str| {
        let character = |c: char| {
            let number = u32::from(c).to_be_bytes();
            let bytes = number[4 - width..].to_vec();
            if big { bytes } else { bytes.into_iter().rev().collect() }
        };
        text.chars().flat_map(character).collect::<Vec<u8>>()
    };
    let text = "id,name\n1,Ana\n";
    let marked = format!("\u{feff}{text}");
    let mut tar = vec![0; 1024];
    tar[..8].copy_from_slice(b"data.csv");
    tar[257..262].copy_from_slice(b"ustar");
    for (bytes, refusal) in [
        (b"\xfd7zXZ\0\0\x04\xe6".to_vec(), "xz: decompress it: xz -d"),
        (b"BZh91AY&SY\x12".to_vec(), "bzip2: decompress it: bzip2 -d"),
        (b"\x04\x22\x4d\x18\x64".to_vec(), "lz4: decompress it: lz4 -d"),
        (b"7z\xbc\xaf\x27\x1c\0\x04".to_vec(), "a 7z archive: take the file out of it: 7z x"),
        (
            b"PK\x03\x04\x14\0".to_vec(),
            "a zip archive: take the file out of it: unzip; a spreadsheet (.xlsx, .ods) is one too: save it as CSV",
        ),
        (tar, "a tar archive: take the file out of it: tar -xf"),
        (wide(2, false, &marked), "UTF-16 text: convert it: iconv -f UTF-16 -t UTF-8"),
        (wide(2, true, &marked), "UTF-16 text: convert it: iconv -f UTF-16 -t UTF-8"),
        (wide(4, false, &marked), "UTF-32 text: convert it: iconv -f UTF-32 -t UTF-8"),
        (wide(4, true, &marked), "UTF-32 text: convert it: iconv -f UTF-32 -t UTF-8"),
        (wide(2, false, text), "UTF-16 text: convert it: iconv -f UTF-16LE -t UTF-8"),
        (wide(2, true, text), "UTF-16 text: convert it: iconv -f UTF-16BE -t UTF-8"),
        (wide(4, false, text), "UTF-32 text: convert it: iconv -f UTF-32LE -t UTF-8"),
        (wide(4, true, text), "UTF-32 text: convert it: iconv -f UTF-32BE -t UTF-8"),
    ] {
        for (bytes, compression, within) in [
            (bytes.clone(), Compression::None, ""),
            (gzip(&bytes), Compression::Gzip, "once decompressed "),
            (zstd(&bytes), Compression::Zstd, "once decompressed "),
        ] {
            assert_eq!(read(&bytes, compression), Err(format!("f {within}is {refusal}")));
        }
    }
    let twice = "f once decompressed is zstd: it is compressed twice: decompress it once";
    assert_eq!(read(&gzip(&zstd(TEXT)), Compression::Gzip), Err(twice.to_owned()));
    // Text that only begins like another format.
    for text in
        ["BZh9,name\n", "PK,name\n", "7z,name\n", "P\n", "", "\0", "a\0b,c\0d\n", "ID;PAR1\n"]
    {
        assert_eq!(
            read(text.as_bytes(), Compression::None).as_deref(),
            Ok(text.as_bytes()),
            "{text:?}"
        );
    }
}
