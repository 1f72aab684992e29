//! What is changed in a network of one's own, by the kernel's own messages (rtnetlink).

use std::io;
use std::net::IpAddr;
use std::os::fd::OwnedFd;

use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};
use rustix::net::{connect, recv, send, socket_with};

const REQUEST_AND_ACKNOWLEDGE: u16 = 0x1 | 0x4;
const CREATE: u16 = 0x400;
const NEW_LINK: u16 = 16;
const NEW_ROUTE: u16 = 24;
const ERROR: u16 = 2;

/// The loopback is the first interface of every network.
const LOOPBACK: i32 = 1;
const UP: u32 = 1;

/// The network of the calling thread.
pub(super) struct Routes(OwnedFd);

impl Routes {
    pub(super) fn open() -> io::Result<Self> {
        let flags = SocketFlags::CLOEXEC;
        let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, None)?;
        connect(&socket, &SocketAddrNetlink::new(0, 0))?;
        Ok(Self(socket))
    }

    /// Starts the loopback.
    pub(super) fn start_loopback(&self) -> io::Result<()> {
        let mut body = vec![0; 4];
        body.extend(LOOPBACK.to_ne_bytes());
        body.extend(UP.to_ne_bytes());
        body.extend(UP.to_ne_bytes());
        self.ask(NEW_LINK, 0, &body)
    }

    /// Lets what is sent to `address` go nowhere: whoever tries is told at once.
    pub(super) fn close_off(&self, address: IpAddr) -> io::Result<()> {
        const MAIN_TABLE: u8 = 254;
        const STATIC: u8 = 4;
        const BLACKHOLE: u8 = 6;
        const DESTINATION: u16 = 1;
        let (family, octets) = match address {
            IpAddr::V4(address) => (AddressFamily::INET, address.octets().to_vec()),
            IpAddr::V6(address) => (AddressFamily::INET6, address.octets().to_vec()),
        };
        let [family, _] = family.as_raw().to_le_bytes();
        let bytes = octets.len().to_le_bytes()[0];
        let mut body = vec![family, bytes * 8, 0, 0, MAIN_TABLE, STATIC, 0, BLACKHOLE, 0, 0, 0, 0];
        body.extend((4 + u16::from(bytes)).to_ne_bytes());
        body.extend(DESTINATION.to_ne_bytes());
        body.extend(octets);
        self.ask(NEW_ROUTE, CREATE, &body)
    }

    /// Sends one message, and hears whether it was done.
    fn ask(&self, kind: u16, flags: u16, body: &[u8]) -> io::Result<()> {
        const HEADER: usize = 16;
        let length = u32::try_from(HEADER + body.len()).map_err(io::Error::other)?;
        let mut message = length.to_ne_bytes().to_vec();
        message.extend(kind.to_ne_bytes());
        message.extend((REQUEST_AND_ACKNOWLEDGE | flags).to_ne_bytes());
        message.extend([0; 8]);
        message.extend(body);
        send(&self.0, &message, SendFlags::empty())?;
        let mut answer = [0_u8; 1024];
        let (got, _) = recv(&self.0, &mut answer, RecvFlags::empty())?;
        match answer.get(..got) {
            Some([_, _, _, _, a, b, _, _, _, _, _, _, _, _, _, _, w, x, y, z, ..])
                if u16::from_ne_bytes([*a, *b]) == ERROR =>
            {
                match i32::from_ne_bytes([*w, *x, *y, *z]) {
                    0 => Ok(()),
                    errno => Err(io::Error::from_raw_os_error(-errno)),
                }
            }
            _ => Err(io::ErrorKind::InvalidData.into()),
        }
    }
}
