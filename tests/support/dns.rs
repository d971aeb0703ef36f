//! A name server on loopback, over UDP and TCP, that answers as a test wants it to.
#![allow(dead_code)] // each test program uses its own part

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, UdpSocket};

/// What is asked.
#[derive(Clone, Debug)]
pub(crate) struct Question {
    pub(crate) name: String,
    /// Whether IPv6 addresses are wanted, and not IPv4 ones.
    pub(crate) v6: bool,
    pub(crate) tcp: bool,
}

/// What comes of it.
pub(crate) enum Reply {
    Silence,
    /// No record, and this code: 0 for "no address", 2 for SERVFAIL, 3 for NXDOMAIN.
    Code(u8),
    /// Ask again over TCP.
    Truncated,
    Records(Vec<Record>),
}

/// A record with the name that it belongs to.
pub(crate) enum Record {
    Address(&'static str, IpAddr),
    Alias(&'static str, &'static str),
}

pub(crate) struct NameServer {
    pub(crate) address: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
}

impl NameServer {
    /// Port 0 is any that is free for UDP and TCP.
    pub(crate) async fn start(ip: &str, port: u16, answer: impl Fn(&Question) -> Reply + Send + Sync + 'static) -> io::Result<NameServer> {
        let ip: IpAddr = ip.parse().unwrap();
        let (tcp, udp) = loop {
            let tcp = TcpListener::bind((ip, port)).await?;
            match UdpSocket::bind(tcp.local_addr()?).await {
                Ok(udp) => break (tcp, udp),
                Err(_) if port == 0 => {}
                Err(error) => return Err(error),
            }
        };
        let (address, asked) = (udp.local_addr()?, Arc::default());
        let answers = Arc::new((answer, Arc::clone(&asked)));
        tokio::spawn(over_udp(udp, answers.clone()));
        tokio::spawn(over_tcp(tcp, answers));
        Ok(NameServer { address, asked })
    }

    /// One line for each question, such as "A demo.vault.azure.net" or "tcp AAAA demo.vault.azure.net".
    pub(crate) fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

type Answers<F> = Arc<(F, Arc<Mutex<Vec<String>>>)>;

async fn over_udp<F: Fn(&Question) -> Reply>(socket: UdpSocket, answers: Answers<F>) {
    let mut query = [0; 4096];
    while let Ok((length, client)) = socket.recv_from(&mut query).await {
        if let Some(reply) = reply(&query[..length], false, &answers) {
            // A client may be gone by now.
            let _ = socket.send_to(&reply, client).await;
        }
    }
}

async fn over_tcp<F: Fn(&Question) -> Reply>(listener: TcpListener, answers: Answers<F>) {
    while let Ok((mut stream, _)) = listener.accept().await {
        while let Ok(length) = stream.read_u16().await {
            let mut query = vec![0; length.into()];
            stream.read_exact(&mut query).await.unwrap();
            if let Some(reply) = reply(&query, true, &answers) {
                stream.write_u16(u16::try_from(reply.len()).unwrap()).await.unwrap();
                stream.write_all(&reply).await.unwrap();
            }
        }
    }
}

fn reply<F: Fn(&Question) -> Reply>(query: &[u8], tcp: bool, answers: &Answers<F>) -> Option<Vec<u8>> {
    let (mut labels, mut at) = (Vec::new(), 12);
    while query[at] != 0 {
        let end = at + 1 + usize::from(query[at]);
        labels.push(String::from_utf8(query[at + 1..end].to_vec()).unwrap());
        at = end;
    }
    let question = Question { name: labels.join("."), v6: query[at + 2] == 28, tcp };
    let over = if tcp { "tcp " } else { "" };
    answers.1.lock().unwrap().push(format!("{over}{} {}", if question.v6 { "AAAA" } else { "A" }, question.name));
    let (flags, code, records) = match (answers.0)(&question) {
        Reply::Silence => return None,
        Reply::Code(code) => (0x81, code, Vec::new()),
        Reply::Truncated => (0x83, 0, Vec::new()),
        Reply::Records(records) => (0x81, 0, records),
    };
    let mut reply = vec![query[0], query[1], flags, 0x80 | code, 0, 1, 0, u8::try_from(records.len()).unwrap(), 0, 0, 0, 0];
    reply.extend_from_slice(&query[12..at + 5]);
    for record in records {
        let (owner, kind, data) = match record {
            Record::Address(owner, IpAddr::V4(v4)) => (owner, 1, v4.octets().to_vec()),
            Record::Address(owner, IpAddr::V6(v6)) => (owner, 28, v6.octets().to_vec()),
            Record::Alias(owner, target) => (owner, 5, encode(target)),
        };
        reply.extend_from_slice(&encode(owner));
        reply.extend_from_slice(&[0, kind, 0, 1, 0, 0, 0, 60, 0, u8::try_from(data.len()).unwrap()]);
        reply.extend_from_slice(&data);
    }
    Some(reply)
}

fn encode(name: &str) -> Vec<u8> {
    let mut bytes: Vec<u8> = name.split('.').flat_map(|label| std::iter::once(u8::try_from(label.len()).unwrap()).chain(label.bytes())).collect();
    bytes.push(0);
    bytes
}
