//! Loopback ports that stay ours while a process that listens on them is stopped and started.
//!
//! They lie below the range the kernel gives to outgoing connections, and a locked file per port keeps two test runs of one user apart.
//! A stranger can still take one between our look and the listener's bind: whoever starts a listener tries again then.

use std::{
    fs::{self, File},
    hash::{BuildHasher, Hasher, RandomState},
    io,
    net::TcpListener,
    ops::Range,
};

use crate::binaries::cache_root;

/// Below Linux's default `ip_local_port_range`.
const PORTS: Range<u16> = 20_000..32_000;

/// A port, ours until dropped.
#[derive(Debug)]
pub struct Port {
    number: u16,
    /// Locked until it is closed, by us or by the end of the process.
    _claim: File,
}

impl Port {
    /// Takes free ports.
    pub fn take_all<const N: usize>() -> io::Result<[Self; N]> {
        let ports: Vec<Self> = (0..N).map(|_| Self::take()).collect::<io::Result<_>>()?;
        ports.try_into().map_err(|_| io::Error::from(io::ErrorKind::AddrNotAvailable))
    }

    /// Takes a free port.
    pub fn take() -> io::Result<Self> {
        let claims = cache_root().join("ports");
        fs::create_dir_all(&claims)?;
        let span = PORTS.end - PORTS.start;
        // Each HashMap state differs: enough to keep runs from trying the same ports in the same order.
        let start = (RandomState::new().build_hasher().finish() % u64::from(span)) as u16;
        for step in 0..span {
            let number = PORTS.start + (start + step) % span;
            let claim = File::create(claims.join(number.to_string()))?;
            if claim.try_lock().is_ok() && TcpListener::bind(("127.0.0.1", number)).is_ok() {
                return Ok(Self { number, _claim: claim });
            }
        }
        Err(io::Error::new(io::ErrorKind::AddrInUse, format!("no free port in {PORTS:?} on 127.0.0.1")))
    }

    /// Its number.
    pub fn number(&self) -> u16 {
        self.number
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_given_once_until_it_is_returned() {
        let mut ports: Vec<Port> = (0..20).map(|_| Port::take().unwrap()).collect();
        let mut numbers: Vec<u16> = ports.iter().map(Port::number).collect();
        numbers.sort_unstable();
        numbers.dedup();
        assert_eq!(numbers.len(), 20);

        let returned = ports.pop().unwrap().number();
        let claim = File::create(cache_root().join("ports").join(returned.to_string())).unwrap();
        assert!(claim.try_lock().is_ok());
    }
}
