//! PROXY protocol version 2: a load balancer says in front of a connection whose it is. Believed only of the networks in
//! `PROXY_FROM`, which must say it; anybody else's header is refused as garbage.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use tokio::io::{AsyncRead, AsyncReadExt as _};

const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
/// Addresses take 36 bytes at most; the rest are a balancer's notes (the VPC endpoint, a checksum), some hundred bytes.
const LENGTH_LIMIT: u16 = 2048;

/// Addresses that begin with the same bits, such as `10.0.0.0/16`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Network {
    address: IpAddr,
    bits: u8,
}

impl Network {
    pub(crate) fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                (own.to_bits() ^ other.to_bits()).checked_shr(32 - u32::from(self.bits)).unwrap_or(0) == 0
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => {
                (own.to_bits() ^ other.to_bits()).checked_shr(128 - u32::from(self.bits)).unwrap_or(0) == 0
            }
            _ => false,
        }
    }
}

impl FromStr for Network {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (address, bits) = text.split_once('/').ok_or(())?;
        let address: IpAddr = address.parse().map_err(|_| ())?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let bits = bits.parse().ok().filter(|bits| *bits <= most).ok_or(())?;
        Ok(Self { address, bits })
    }
}

/// Reads the header and answers whose connection it is: `peer`'s own when the balancer speaks for itself, as in health checks.
pub(crate) async fn read_header(
    stream: &mut (impl AsyncRead + Unpin),
    peer: SocketAddr,
) -> io::Result<SocketAddr> {
    let mut start = [0; 16];
    stream.read_exact(&mut start).await?;
    let refused =
        |what: &str| Err(io::Error::new(io::ErrorKind::InvalidData, format!("PROXY header: {what}")));
    if start[..12] != SIGNATURE {
        return refused("expected from this address, and not there");
    }
    let [version_and_command, family, high, low] = [start[12], start[13], start[14], start[15]];
    let length = u16::from_be_bytes([high, low]);
    if length > LENGTH_LIMIT {
        return refused("too long");
    }
    let mut rest = vec![0; usize::from(length)];
    stream.read_exact(&mut rest).await?;
    match (version_and_command, family) {
        // LOCAL: the balancer's own.
        (0x20, _) => Ok(peer),
        // TCP over IPv4: two addresses, two ports.
        (0x21, 0x11) => match rest.first_chunk::<12>() {
            Some([a, b, c, d, _, _, _, _, high, low, ..]) => {
                Ok((Ipv4Addr::new(*a, *b, *c, *d), u16::from_be_bytes([*high, *low])).into())
            }
            None => refused("shorter than its addresses"),
        },
        (0x21, 0x21) => match (rest.first_chunk::<16>(), rest.get(32..34)) {
            (Some(address), Some([high, low])) => {
                Ok((Ipv6Addr::from(*address), u16::from_be_bytes([*high, *low])).into())
            }
            _ => refused("shorter than its addresses"),
        },
        (0x21, _) => refused("neither TCP over IPv4 nor over IPv6"),
        _ => refused("not of version 2"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
        [&SIGNATURE[..], &[command, family], &length, rest].concat()
    }

    async fn read(bytes: &[u8]) -> Result<String, ()> {
        let peer = "10.0.0.7:1000".parse().unwrap();
        read_header(&mut &bytes[..], peer).await.map(|address| address.to_string()).map_err(drop)
    }

    #[tokio::test]
    async fn the_client_is_whom_the_balancer_names() {
        let v4 = [192, 0, 2, 9, 10, 0, 0, 7, 0x30, 0x39, 0x1f, 0x90];
        assert_eq!(read(&header(0x21, 0x11, &v4)).await, Ok("192.0.2.9:12345".to_owned()));
        let with_notes = [&v4[..], &[0xea, 0, 3, 1, 2, 3]].concat();
        assert_eq!(read(&header(0x21, 0x11, &with_notes)).await, Ok("192.0.2.9:12345".to_owned()));
        let mut v6 = [0; 36];
        (v6[0], v6[1], v6[15], v6[33]) = (0x20, 0x01, 1, 80);
        assert_eq!(read(&header(0x21, 0x21, &v6)).await, Ok("[2001::1]:80".to_owned()));
        assert_eq!(read(&header(0x20, 0, &[])).await, Ok("10.0.0.7:1000".to_owned()));
    }

    #[tokio::test]
    async fn anything_else_is_refused() {
        let whole = header(0x21, 0x11, &[0; 12]);
        for length in 0..whole.len() {
            assert!(read(&whole[..length]).await.is_err(), "{length}");
        }
        for wrong in [
            header(0x21, 0x11, &[0; 11]),
            header(0x21, 0x21, &[0; 33]),
            header(0x21, 0x31, &[0; 216]),
            header(0x11, 0x11, &[0; 12]),
            header(0x22, 0x11, &[0; 12]),
            header(0x21, 0x11, &[0; 3000]),
            b"PROXY TCP4 192.0.2.1 10.0.0.1 1 2\r\n".to_vec(),
        ] {
            assert!(read(&wrong).await.is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn a_network_holds_the_addresses_that_begin_like_it() {
        let contains = |network: &str, address: &str| {
            network.parse::<Network>().unwrap().contains(address.parse().unwrap())
        };
        assert!(contains("10.1.0.0/16", "10.1.255.3") && !contains("10.1.0.0/16", "10.2.0.0"));
        assert!(contains("10.1.0.0/16", "::ffff:10.1.2.3"));
        assert!(contains("0.0.0.0/0", "192.0.2.1") && !contains("0.0.0.0/0", "2001:db8::1"));
        assert!(contains("192.0.2.1/32", "192.0.2.1") && !contains("192.0.2.1/32", "192.0.2.2"));
        assert!(contains("2001:db8::/32", "2001:db8:1::") && !contains("2001:db8::/32", "2001:db9::"));
        assert!(contains("::/0", "2001:db8::1"));
        for wrong in ["10.0.0.0", "10.0.0.0/33", "::/129", "x/8", "10.0.0.0/-1", "/8"] {
            assert!(wrong.parse::<Network>().is_err(), "{wrong}");
        }
    }
}
