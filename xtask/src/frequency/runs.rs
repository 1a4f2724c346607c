//! Puts any number of records in order in bounded memory: sorted runs go to an unnamed temporary file each, and are merged. Knows nothing of
//! what the records mean.

use std::{
    cmp::Reverse,
    collections::BinaryHeap,
    fs::{self, File},
    io::{self, BufReader, BufWriter, Read, Seek, Write},
};

/// Records of a run: 32 MB of memory.
const RUN: usize = 1 << 21;
/// Bytes of a record in a file.
const SIZE: usize = 16;

/// One request. Ordered by time; what is the same in every field lies together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Record {
    /// Milliseconds since 1970.
    pub millis: i64,
    /// The identity's number.
    pub identity: u32,
    /// The pod's key; 0 is unknown.
    pub pod: u32,
}

impl Record {
    fn to_bytes(self) -> [u8; SIZE] {
        let mut bytes = [0; SIZE];
        bytes[..8].copy_from_slice(&self.millis.to_le_bytes());
        bytes[8..12].copy_from_slice(&self.identity.to_le_bytes());
        bytes[12..].copy_from_slice(&self.pod.to_le_bytes());
        bytes
    }

    fn from_bytes(bytes: [u8; SIZE]) -> Self {
        let word = |at: usize| [bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]];
        let (low, high) = (u32::from_le_bytes(word(0)), u32::from_le_bytes(word(4)));
        let millis = (i64::from(high) << 32) | i64::from(low);
        Self { millis, identity: u32::from_le_bytes(word(8)), pod: u32::from_le_bytes(word(12)) }
    }
}

/// Records in the order they came in.
#[derive(Debug, Default)]
pub struct Runs {
    open: Vec<Record>,
    spilled: Vec<File>,
}

impl Runs {
    /// Takes in a record.
    pub fn push(&mut self, record: Record) -> io::Result<()> {
        self.open.push(record);
        if self.open.len() >= RUN { self.spill() } else { Ok(()) }
    }

    fn spill(&mut self) -> io::Result<()> {
        self.open.sort_unstable();
        let mut file = BufWriter::with_capacity(1 << 20, unnamed(self.spilled.len())?);
        for record in self.open.drain(..) {
            file.write_all(&record.to_bytes())?;
        }
        let mut file = file.into_inner().map_err(io::IntoInnerError::into_error)?;
        file.rewind()?;
        self.spilled.push(file);
        Ok(())
    }

    /// All records in order.
    pub fn sorted(mut self) -> io::Result<Sorted> {
        self.open.sort_unstable();
        let mut sorted = Sorted { files: vec![], open: self.open.into_iter(), next: BinaryHeap::new() };
        sorted.files.extend(self.spilled.into_iter().map(|file| BufReader::with_capacity(1 << 18, file)));
        for source in 0..=sorted.files.len() {
            sorted.refill(source)?;
        }
        Ok(sorted)
    }
}

/// Records in order.
#[derive(Debug)]
pub struct Sorted {
    files: Vec<BufReader<File>>,
    open: std::vec::IntoIter<Record>,
    next: BinaryHeap<Reverse<(Record, usize)>>,
}

impl Sorted {
    fn refill(&mut self, source: usize) -> io::Result<()> {
        let record = match self.files.get_mut(source) {
            None => self.open.next(),
            Some(file) => {
                let mut bytes = [0; SIZE];
                match file.read_exact(&mut bytes) {
                    Ok(()) => Some(Record::from_bytes(bytes)),
                    Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => None,
                    Err(error) => return Err(error),
                }
            }
        };
        self.next.extend(record.map(|record| Reverse((record, source))));
        Ok(())
    }
}

impl Iterator for Sorted {
    type Item = io::Result<Record>;

    fn next(&mut self) -> Option<Self::Item> {
        let Reverse((record, source)) = self.next.pop()?;
        match self.refill(source) {
            Ok(()) => Some(Ok(record)),
            Err(error) => Some(Err(error)),
        }
    }
}

/// A file that is gone when it is closed, whatever happens to this process.
fn unnamed(number: usize) -> io::Result<File> {
    let path = std::env::temp_dir().join(format!("daypass-frequency-{}-{number}", std::process::id()));
    let file = File::options().read(true).write(true).create_new(true).open(&path)?;
    fs::remove_file(&path)?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_in_disorder_goes_out_in_order_from_files_and_memory() {
        let mut runs = Runs::default();
        let mut value = 1_u64;
        for n in 0..5_000_u32 {
            value = value.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            runs.push(Record { millis: (value >> 20) as i64, identity: n, pod: u32::MAX - n }).unwrap();
            if n % 1_500 == 1_499 {
                runs.spill().unwrap();
            }
        }
        assert_eq!(runs.spilled.len(), 3);
        let sorted: Vec<Record> = runs.sorted().unwrap().map(Result::unwrap).collect();
        assert_eq!(sorted.len(), 5_000);
        assert!(sorted.is_sorted());
    }
}
