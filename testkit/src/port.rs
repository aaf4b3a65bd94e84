//! A port that stays a test's own, whether anybody listens at it or not.

use std::net::{Ipv4Addr, SocketAddr};

use tokio::net::TcpSocket;

/// A port on 127.0.0.1 that the system gives to nobody else while this lives: it is bound. It is not listened at, so who connects is
/// refused; a server that is told its number can take it (with `SO_REUSEADDR`, as servers do), and take it again after a crash.
#[derive(Debug)]
pub struct Port {
    number: u16,
    /// Elsewhere than on Linux a bound port is nobody else's at all: there it is only one that was free a moment ago.
    _held: Option<TcpSocket>,
}

impl Port {
    /// One that nobody has.
    ///
    /// # Panics
    /// When there is none.
    pub fn free() -> Self {
        let bound = TcpSocket::new_v4().and_then(|socket| {
            socket.set_reuseaddr(true)?;
            socket.bind((Ipv4Addr::LOCALHOST, 0).into())?;
            Ok((socket.local_addr()?.port(), socket))
        });
        let (number, socket) = bound.unwrap_or_else(|error| panic!("no free port: {error}"));
        Self {
            number,
            _held: Some(socket).filter(|_| cfg!(target_os = "linux")),
        }
    }

    /// Its number.
    pub const fn number(&self) -> u16 {
        self.number
    }

    /// 127.0.0.1 and the number.
    pub fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.number).into()
    }
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn it_refuses_until_somebody_listens_and_again_afterwards() {
        let port = Port::free();
        for _ in 0..2 {
            let refused = TcpStream::connect(port.address()).unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
            let listener = TcpListener::bind(port.address()).unwrap();
            let _client = TcpStream::connect(port.address()).unwrap();
            drop(listener);
        }
    }

    #[test]
    fn nobody_is_given_the_port_of_another() {
        let ports: Vec<Port> = (0..200).map(|_| Port::free()).collect();
        let mut numbers: Vec<u16> = ports.iter().map(Port::number).collect();
        numbers.extend((0..200).map(|_| TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()));
        assert!(numbers[200..].iter().all(|given| !numbers[..200].contains(given)));
        numbers.truncate(200);
        numbers.sort_unstable();
        numbers.dedup();
        assert_eq!(numbers.len(), 200);
    }
}
