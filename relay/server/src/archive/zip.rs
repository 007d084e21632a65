//! The layout of a zip whose members are stored as they are and known beforehand: name, size and CRC-32 (PKWARE APPNOTE 6.3).
//!
//! Pure. Since nothing is compressed and nothing is left for a trailing descriptor, the place of every byte follows from the
//! list of members: the length of the whole is known before the first byte, and any part can be made without the rest. The
//! forms of zip64 are used exactly where a number does not fit the old ones. Times are the format's zero: the same members
//! always make the same bytes.

/// From here on a size or an offset needs zip64.
const LIMIT_32: u64 = 0xFFFF_FFFF;
/// From here on a number of members needs zip64.
const LIMIT_16: u64 = 0xFFFF;
/// 1 January 1980, the earliest date there is.
const DATE: u16 = 0x0021;
/// A regular file, readable by all, in the upper half as Unix wants it.
const MODE: u32 = 0o100_644 << 16;
/// What a reader must know: 2.0, or 4.5 for zip64.
const VERSION: u16 = 20;
const VERSION_64: u16 = 45;
/// Made on Unix.
const MADE_BY: u16 = 3 << 8 | VERSION_64;

/// One file in the zip.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Member {
    /// ASCII, with slashes.
    pub(super) name: String,
    pub(super) size: u64,
    pub(super) crc: u32,
}

impl Member {
    /// Bytes before the content.
    pub(super) fn local_length(&self) -> u64 {
        30 + self.name.len() as u64 + if self.is_large() { 20 } else { 0 }
    }

    /// Bytes in the directory, for a member that begins at this offset.
    pub(super) fn central_length(&self, offset: u64) -> u64 {
        46 + self.name.len() as u64 + self.central_extra(offset).len() as u64
    }

    /// What stands before the content.
    pub(super) fn local(&self) -> Vec<u8> {
        let mut extra = Vec::new();
        if self.is_large() {
            put(&mut extra, &[&1u16.to_le_bytes(), &16u16.to_le_bytes()]);
            put(&mut extra, &[&self.size.to_le_bytes(), &self.size.to_le_bytes()]);
        }
        let mut header = b"PK\x03\x04".to_vec();
        self.common(&mut header, extra.len());
        put(&mut header, &[self.name.as_bytes(), &extra]);
        header
    }

    /// What stands in the directory.
    pub(super) fn central(&self, offset: u64) -> Vec<u8> {
        let extra = self.central_extra(offset);
        let mut header = b"PK\x01\x02".to_vec();
        put(&mut header, &[&MADE_BY.to_le_bytes()]);
        self.common(&mut header, extra.len());
        // No comment, first disk, no internal attributes.
        put(&mut header, &[&[0; 6], &MODE.to_le_bytes(), &short_32(offset).to_le_bytes()]);
        put(&mut header, &[self.name.as_bytes(), &extra]);
        header
    }

    /// The fields that both headers share.
    fn common(&self, header: &mut Vec<u8>, extra: usize) {
        let version = if self.is_large() { VERSION_64 } else { VERSION };
        let size = short_32(self.size).to_le_bytes();
        // No flags, stored, midnight.
        put(header, &[&version.to_le_bytes(), &[0; 6], &DATE.to_le_bytes()]);
        put(header, &[&self.crc.to_le_bytes(), &size, &size]);
        put(
            header,
            &[&short_16(self.name.len() as u64).to_le_bytes(), &short_16(extra as u64).to_le_bytes()],
        );
    }

    fn central_extra(&self, offset: u64) -> Vec<u8> {
        let mut numbers = Vec::new();
        if self.is_large() {
            put(&mut numbers, &[&self.size.to_le_bytes(), &self.size.to_le_bytes()]);
        }
        if offset >= LIMIT_32 {
            put(&mut numbers, &[&offset.to_le_bytes()]);
        }
        if numbers.is_empty() {
            return numbers;
        }
        let mut extra = 1u16.to_le_bytes().to_vec();
        put(&mut extra, &[&short_16(numbers.len() as u64).to_le_bytes(), &numbers]);
        extra
    }

    fn is_large(&self) -> bool {
        self.size >= LIMIT_32
    }
}

/// What ends the zip: so many members, whose directory of so many bytes begins there.
pub(super) fn end(members: u64, directory: u64, directory_length: u64) -> Vec<u8> {
    let mut end = Vec::new();
    if members >= LIMIT_16 || directory >= LIMIT_32 || directory_length >= LIMIT_32 {
        put(
            &mut end,
            &[b"PK\x06\x06", &44u64.to_le_bytes(), &MADE_BY.to_le_bytes(), &VERSION_64.to_le_bytes()],
        );
        put(&mut end, &[&[0; 8], &members.to_le_bytes(), &members.to_le_bytes()]);
        put(&mut end, &[&directory_length.to_le_bytes(), &directory.to_le_bytes()]);
        let here = directory + directory_length;
        put(&mut end, &[b"PK\x06\x07", &[0; 4], &here.to_le_bytes(), &1u32.to_le_bytes()]);
    }
    let members = short_16(members).to_le_bytes();
    put(&mut end, &[b"PK\x05\x06", &[0; 4], &members, &members]);
    put(&mut end, &[&short_32(directory_length).to_le_bytes(), &short_32(directory).to_le_bytes(), &[0; 2]]);
    end
}

/// The number, or the mark that says "see zip64".
fn short_32(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

fn short_16(number: u64) -> u16 {
    u16::try_from(number).unwrap_or(u16::MAX)
}

fn put(to: &mut Vec<u8>, parts: &[&[u8]]) {
    parts.iter().for_each(|part| to.extend_from_slice(part));
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::fs::File;
    use std::os::unix::fs::FileExt as _;
    use std::process::Command;

    use super::*;

    /// Writes members into a file; contents are given as (place within the member, bytes), the rest is a hole.
    fn write(path: &std::path::Path, members: &[(Member, Vec<u8>)]) {
        let file = File::create(path).unwrap();
        let mut at = 0;
        let mut offsets = Vec::new();
        for (member, content) in members {
            offsets.push(at);
            let local = member.local();
            assert_eq!(local.len() as u64, member.local_length());
            file.write_all_at(&local, at).unwrap();
            file.write_all_at(content, at + member.local_length()).unwrap();
            at += member.local_length() + member.size;
        }
        let directory = at;
        for ((member, _), offset) in members.iter().zip(offsets) {
            let central = member.central(offset);
            assert_eq!(central.len() as u64, member.central_length(offset));
            file.write_all_at(&central, at).unwrap();
            at += member.central_length(offset);
        }
        file.write_all_at(&end(members.len() as u64, directory, at - directory), at).unwrap();
    }

    fn python(script: &str, path: &std::path::Path) -> String {
        let output = Command::new("python3").args(["-c", script]).arg(path).output().unwrap();
        let err = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{err}");
        String::from_utf8(output.stdout).unwrap()
    }

    fn member(name: &str, content: &[u8]) -> (Member, Vec<u8>) {
        let member = Member { name: name.into(), size: content.len() as u64, crc: crc32fast::hash(content) };
        (member, content.to_vec())
    }

    const TEST: &str =
        "import sys, zipfile\nz = zipfile.ZipFile(sys.argv[1])\nprint(z.testzip(), len(z.namelist()))";

    #[test]
    fn an_outside_reader_finds_every_member_and_a_wrong_crc() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.zip");
        let mut members =
            vec![member("README.txt", b"hello\n"), member("tile/0/000", &[7; 8192]), member("empty", b"")];
        write(&path, &members);
        assert_eq!(python(TEST, &path), "None 3\n");
        members[1].0.crc ^= 1;
        write(&path, &members);
        assert_eq!(python(TEST, &path), "tile/0/000 3\n");
    }

    #[test]
    fn more_members_than_the_old_form_counts_are_all_found() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("many.zip");
        let members: Vec<_> = (0..66_000).map(|n| member(&format!("m/{n}"), &[1, 2, 3])).collect();
        write(&path, &members);
        assert_eq!(
            python(
                "import sys, zipfile\nz = zipfile.ZipFile(sys.argv[1])\nprint(len(z.namelist()), z.read('m/65999'))",
                &path
            ),
            "66000 b'\\x01\\x02\\x03'\n"
        );
    }

    /// A file with a hole of 5 GB; nothing reads the hole.
    #[test]
    fn a_member_behind_the_fourth_gigabyte_is_found_and_the_large_one_has_its_size() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("large.zip");
        let large = Member { name: "sth.ndjson".into(), size: 5_000_000_000, crc: 0 };
        write(&path, &[(large, Vec::new()), member("after", b"found")]);
        let script = "import sys, zipfile\nz = zipfile.ZipFile(sys.argv[1])\nprint(z.getinfo('sth.ndjson').file_size, z.read('after'))";
        assert_eq!(python(script, &path), "5000000000 b'found'\n");
    }
}
