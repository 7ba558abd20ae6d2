//! What forwarding costs at least on a machine: `floor [calls]` receives what so many calls of two send, pictures of five packets and
//! sound, and sends each datagram on to another socket of its sender, with nothing done to it. Prints the processor time of a datagram.

#![expect(clippy::disallowed_methods, reason = "this measures")]

use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

type Outcome = Result<(), Box<dyn std::error::Error>>;

const WARM_UP: Duration = Duration::from_secs(2);
const MEASURED: Duration = Duration::from_secs(10);

fn main() -> Outcome {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["feed", to, phase] => feed(to.parse()?, phase.parse()?),
        ["feed", ..] => Err("usage: floor [calls]".into()),
        [calls] => copy(calls.parse()?),
        _ => copy(50),
    }
}

/// Two clients of a call, in a process of their own as the load generators are.
fn feed(to: SocketAddr, phase: u64) -> Outcome {
    let (sending, receiving) = (UdpSocket::bind("127.0.0.1:0")?, UdpSocket::bind("127.0.0.1:0")?);
    let back = receiving.local_addr()?.port().to_be_bytes();
    std::thread::spawn(move || while receiving.recv(&mut [0; 2048]).is_ok() {});
    let every = move |socket: UdpSocket, period: u64, count: usize, length: usize| -> Outcome {
        let mut datagram = vec![0; length];
        datagram[..2].copy_from_slice(&back);
        let mut at = Instant::now() + Duration::from_micros(phase * 1_733 % period);
        loop {
            std::thread::sleep(at.saturating_duration_since(Instant::now()));
            at += Duration::from_micros(period);
            for _ in 0..count {
                socket.send_to(&datagram, to)?;
            }
        }
    };
    let sound = sending.try_clone()?;
    std::thread::spawn(move || every(sound, 10_000, 1, 130).is_ok());
    every(sending, 16_000, 5, 1_230)
}

fn copy(calls: u64) -> Outcome {
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    let to = socket.local_addr()?.to_string();
    let own = std::env::current_exe()?;
    let feed =
        |call: u64| std::process::Command::new(&own).args(["feed", &to, &call.to_string()]).spawn();
    let mut feeders = (0..calls).map(feed).collect::<Result<Vec<_>, _>>()?;
    let used = || -> Result<u64, Box<dyn std::error::Error>> {
        let text = std::fs::read_to_string("/proc/thread-self/schedstat")?;
        Ok(text.split(' ').next().unwrap_or_default().parse()?)
    };
    let (mut since, mut before, mut count) = (Instant::now() + WARM_UP, None, 0_u64);
    let mut datagram = [0; 2048];
    loop {
        let (length, from) = socket.recv_from(&mut datagram)?;
        let port = u16::from_be_bytes([datagram[0], datagram[1]]);
        socket.send_to(&datagram[..length], SocketAddr::new(from.ip(), port))?;
        count += 1;
        match before {
            None if Instant::now() < since => {}
            None => (since, before, count) = (Instant::now(), Some(used()?), 0),
            Some(before) if count % 64 == 0 && since.elapsed() >= MEASURED => {
                let spent = (used()? - before) as f64 / 1e3;
                let rate = count as f64 / since.elapsed().as_secs_f64();
                println!("{rate:.0} datagrams/s, {:.2} us each", spent / count as f64);
                break;
            }
            Some(_) => {}
        }
    }
    for feeder in &mut feeders {
        feeder.kill()?;
        feeder.wait()?;
    }
    Ok(())
}
