//! The archive that krew unpacks: the program under the plugin's name, and the licence. A function of its input, byte for byte.

use std::{
    fmt,
    io::{self, Write},
};

use aws_lc_rs::digest::{SHA256, digest};
use data_encoding::HEXLOWER;
use flate2::{Compression, GzBuilder};
use tar::{Builder, Header};

/// The program's name in the archive.
pub const PROGRAM: &str = "kubectl-daypass";
/// The licence's; krew's index wants it unpacked.
pub const LICENSE: &str = "LICENSE";

/// A platform that Daypass is released for: Linux on one of these processors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Platform {
    /// x86-64.
    Amd64,
    /// 64-bit Arm.
    Arm64,
}

/// Why a file is no program that can be released.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    #[error("no 64-bit little-endian ELF file: give a Linux program")]
    NoProgram,
    #[error("for a processor that Daypass is not released for (ELF machine {0})")]
    Processor(u16),
}

impl Platform {
    /// The platform that a program runs on, as its ELF header says.
    pub fn of(file: &[u8]) -> Result<Self, Unfit> {
        let machine = file.starts_with(b"\x7fELF\x02\x01").then(|| file.get(18..20)).flatten();
        match machine.map(|bytes| u16::from_le_bytes([bytes[0], bytes[1]])) {
            Some(62) => Ok(Self::Amd64),
            Some(183) => Ok(Self::Arm64),
            Some(other) => Err(Unfit::Processor(other)),
            None => Err(Unfit::NoProgram),
        }
    }

    /// The processor, as Go and so krew name it.
    pub fn arch(self) -> &'static str {
        match self {
            Self::Amd64 => "amd64",
            Self::Arm64 => "arm64",
        }
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "linux/{}", self.arch())
    }
}

/// Packs it: nothing of whoever does so, and of when, gets in.
pub fn pack(program: &[u8], license: &[u8]) -> io::Result<Vec<u8>> {
    let gzip = GzBuilder::new().write(Vec::new(), Compression::best());
    let mut tar = Builder::new(gzip);
    for (name, bytes, mode) in [(PROGRAM, program, 0o755), (LICENSE, license, 0o644)] {
        let mut header = Header::new_ustar();
        header.set_size(bytes.len() as u64);
        header.set_mode(mode);
        header.set_mtime(0);
        header.set_uid(0);
        header.set_gid(0);
        tar.append_data(&mut header, name, bytes)?;
    }
    let mut gzip = tar.into_inner()?;
    gzip.flush()?;
    gzip.finish()
}

/// In lower-case hexadecimal digits, as krew wants it.
pub fn sha256(bytes: &[u8]) -> String {
    HEXLOWER.encode(digest(&SHA256, bytes).as_ref())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_program_gives_the_same_archive() {
        assert!(pack(b"program", b"licence").unwrap() == pack(b"program", b"licence").unwrap());
        assert!(pack(b"program", b"licence").unwrap() != pack(b"another", b"licence").unwrap());
    }

    #[test]
    fn the_platform_is_read_off_the_program() {
        let program = |machine: u16| [&b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x03\0"[..], &machine.to_le_bytes()].concat();
        assert_eq!(Platform::of(&program(62)), Ok(Platform::Amd64));
        assert_eq!(Platform::of(&program(183)), Ok(Platform::Arm64));
        assert_eq!(Platform::of(&program(8)), Err(Unfit::Processor(8)));
        assert_eq!(Platform::of(&program(62)[..19]), Err(Unfit::NoProgram));
        assert_eq!(Platform::of(b"#!/bin/sh"), Err(Unfit::NoProgram));
    }
}
