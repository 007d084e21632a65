//! The relay pod originates nothing: new flows that leave its address are counted at the bridge.
//!
//! The counter is first shown to count: one datagram is sent from inside the relay's own network namespace.

use std::{process::Command, time::Duration};

use anyhow::{Context, Result, bail};

use super::fixture::Fixture;
use crate::{bed::Bed, process, steps::Seen, steps::seen};

pub(crate) fn run(bed: &Bed) -> Result<Seen<()>> {
    let fixture = Fixture::new(bed, "network")?;
    let relay = fixture.relay("health")?;
    let address = fixture.field("pod/health-0", "/status/podIP")?;
    let address = address.as_str().context("the pod has no address")?.to_owned();
    let counter = Counter::new(&address)?;

    let planted = counter.plant(&address)?;
    for _ in 0..20 {
        relay.roundtrip(20_000)?;
    }
    std::thread::sleep(Duration::from_secs(20));
    let counted = counter.read()?;
    if counted != planted {
        bail!("the relay pod originated {} new flows", counted - planted);
    }
    seen((), format!("planted datagram counted ({planted}), then 0 new flows over 20 transfers and 20 s"))
}

/// An nftables table of our own that counts what an address originates; named after it, since another may count beside it.
pub(super) struct Counter {
    table: String,
}

impl Counter {
    pub(super) fn new(address: &str) -> Result<Self> {
        let table = format!("paramant_e2e_{}", address.replace(['.', ':'], "_"));
        nft(&["delete", "table", "inet", &table]).ok();
        let rules = format!(
            "table inet {table} {{\n chain out {{\n  type filter hook prerouting priority raw + 10; policy accept;\n }}\n chain new {{\n  type filter hook prerouting priority mangle; policy accept;\n  ip saddr {address} ct state new,invalid,untracked counter\n }}\n}}\n"
        );
        let mut command = Command::new("nft");
        command.args(["-f", "-"]);
        process::run(&mut command, Some(&rules), Duration::from_secs(10))?.success("nft -f -")?;
        Ok(Counter { table })
    }

    pub(super) fn read(&self) -> Result<u64> {
        let text = nft(&["list", "chain", "inet", &self.table, "new"])?;
        let packets = text.split("packets ").nth(1).and_then(|rest| rest.split(' ').next());
        packets.and_then(|number| number.parse().ok()).with_context(|| format!("no counter in: {text}"))
    }
}

impl Counter {
    /// Plants one: a datagram from inside the pod's namespace must be counted. Answers the count with it.
    pub(super) fn plant(&self, address: &str) -> Result<u64> {
        let namespace = network_namespace(address)?;
        nsenter(&namespace, &["bash", "-c", "echo planted > /dev/udp/192.0.2.1/9"])?;
        match self.read()? {
            0 => bail!("a planted datagram was not counted; the counter proves nothing"),
            planted => Ok(planted),
        }
    }
}

impl Drop for Counter {
    fn drop(&mut self) {
        nft(&["delete", "table", "inet", &self.table]).ok();
    }
}

fn nft(arguments: &[&str]) -> Result<String> {
    let mut command = Command::new("nft");
    command.args(arguments);
    process::run(&mut command, None, Duration::from_secs(10))?.success("nft")
}

/// The process that owns the namespace with this address, found by looking into each.
fn network_namespace(address: &str) -> Result<String> {
    for entry in std::fs::read_dir("/proc")?.filter_map(Result::ok) {
        let pid = entry.file_name().to_string_lossy().into_owned();
        if pid.bytes().all(|byte| byte.is_ascii_digit())
            && let Ok(table) = std::fs::read_to_string(format!("/proc/{pid}/net/fib_trie"))
            && table.lines().any(|line| line.trim() == format!("|-- {address}"))
            && std::fs::read_link(format!("/proc/{pid}/ns/net")).ok()
                != std::fs::read_link("/proc/self/ns/net").ok()
        {
            return Ok(pid);
        }
    }
    bail!("no process has a network namespace with {address}")
}

fn nsenter(pid: &str, arguments: &[&str]) -> Result<()> {
    let mut command = Command::new("nsenter");
    command.args(["--net", "--target", pid, "--"]).args(arguments);
    process::run(&mut command, None, Duration::from_secs(10))?.success("nsenter").map(drop)
}
