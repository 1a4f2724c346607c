//! Reads of an ELF file what an image must know: for which processor it is, and that it needs nothing beside it.

/// A processor that Daypass is built for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Architecture {
    /// x86-64.
    Amd64,
    /// 64-bit Arm.
    Arm64,
}

impl Architecture {
    /// As images name it.
    pub fn oci(self) -> &'static str {
        match self {
            Self::Amd64 => "amd64",
            Self::Arm64 => "arm64",
        }
    }

    /// As Rust names it.
    pub fn target(self) -> &'static str {
        match self {
            Self::Amd64 => "x86_64-unknown-linux-gnu",
            Self::Arm64 => "aarch64-unknown-linux-gnu",
        }
    }
}

/// Why a file cannot be all that is in an image.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    #[error("not a program: no 64-bit little-endian ELF file")]
    NoProgram,
    #[error("for a processor that Daypass is not built for (ELF machine {0})")]
    Processor(u16),
    #[error("linked dynamically: it needs {0}, which is not in the image; link with -C target-feature=+crt-static")]
    Dynamic(String),
}

/// Segment that names the program which loads libraries.
const PT_INTERP: u32 = 3;

/// The processor, of a program that needs no other file.
pub fn architecture(file: &[u8]) -> Result<Architecture, Unfit> {
    // ELF, 64 bits, little-endian.
    if !file.starts_with(b"\x7fELF\x02\x01") {
        return Err(Unfit::NoProgram);
    }
    let architecture = match u16::from_le_bytes(bytes(file, 18)?) {
        62 => Architecture::Amd64,
        183 => Architecture::Arm64,
        other => return Err(Unfit::Processor(other)),
    };
    let (offset, size, count) = (word(file, 32)?, u16::from_le_bytes(bytes(file, 54)?), u16::from_le_bytes(bytes(file, 56)?));
    for index in 0..usize::from(count) {
        let header = index.checked_mul(size.into()).and_then(|skip| offset.checked_add(skip)).ok_or(Unfit::NoProgram)?;
        if u32::from_le_bytes(bytes(file, header)?) == PT_INTERP {
            let (start, length) = (word(file, header.saturating_add(8))?, word(file, header.saturating_add(32))?);
            let name = file.get(start..start.saturating_add(length)).ok_or(Unfit::NoProgram)?;
            return Err(Unfit::Dynamic(String::from_utf8_lossy(name).trim_end_matches('\0').to_owned()));
        }
    }
    Ok(architecture)
}

fn word(file: &[u8], at: usize) -> Result<usize, Unfit> {
    usize::try_from(u64::from_le_bytes(bytes(file, at)?)).map_err(|_| Unfit::NoProgram)
}

fn bytes<const N: usize>(file: &[u8], at: usize) -> Result<[u8; N], Unfit> {
    file.get(at..).and_then(|rest| rest.first_chunk()).copied().ok_or(Unfit::NoProgram)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_test_needs_a_libc_and_an_image_has_none() {
        let file = std::fs::read("/proc/self/exe").unwrap();
        assert!(matches!(architecture(&file), Err(Unfit::Dynamic(_))));
    }

    #[test]
    fn what_is_no_program_for_us_is_refused_wherever_it_is_cut_off() {
        assert_eq!(architecture(b"#!/bin/sh"), Err(Unfit::NoProgram));
        let file = std::fs::read("/proc/self/exe").unwrap();
        for length in 0..64 {
            assert_eq!(architecture(&file[..length]), Err(Unfit::NoProgram), "{length} bytes");
        }
        let mut other = file[..64].to_vec();
        other[18] = 8;
        assert_eq!(architecture(&other), Err(Unfit::Processor(8)));
        let mut far = file;
        far[32..40].fill(0xff);
        assert_eq!(architecture(&far), Err(Unfit::NoProgram));
    }
}
