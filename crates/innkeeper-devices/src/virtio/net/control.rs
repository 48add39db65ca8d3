//! Commands of the control queue.
//!
//! Spec: virtio 1.2, 5.1.6.5.

use std::sync::atomic::Ordering;

use super::filter::Mac;
use super::{Shared, lock};
use crate::virtio::queue::{Chain, Fault};

const OK: u8 = 0;
const ERROR: u8 = 1;
/// No command is longer: the tables of addresses are cut where they make no difference any more.
const COMMAND_BYTES: usize = 2048;

const PROMISCUOUS: (u8, u8) = (0, 0);
const ALL_MULTICAST: (u8, u8) = (0, 1);
const SET_TABLES: (u8, u8) = (1, 0);
const SET_ADDRESS: (u8, u8) = (1, 1);
const ANNOUNCED: (u8, u8) = (3, 0);
const SET_PAIRS: (u8, u8) = (4, 0);

/// Obeys one command; `pairs` is how many queue pairs there are.
pub fn serve(shared: &Shared, pairs: u16, chain: &Chain) -> Result<u32, Fault> {
    let mut bytes = [0; COMMAND_BYTES];
    let length = chain.read(0, &mut bytes);
    if length < 2 || chain.writable() < 1 {
        return Err(Fault::Request);
    }
    let done = obey(shared, pairs, (bytes[0], bytes[1]), &bytes[2..length]);
    Ok(chain.write(0, &[if done.is_some() { OK } else { ERROR }]) as u32)
}

fn obey(shared: &Shared, pairs: u16, command: (u8, u8), data: &[u8]) -> Option<()> {
    match command {
        PROMISCUOUS => lock(&shared.filter).set_promiscuous(*data.first()? != 0),
        ALL_MULTICAST => lock(&shared.filter).set_all_multicast(*data.first()? != 0),
        SET_TABLES => {
            let (unicast, rest) = table(data)?;
            let (multicast, _) = table(rest)?;
            lock(&shared.filter).set_tables(unicast, multicast);
        }
        SET_ADDRESS => lock(&shared.filter).set_mac(*data.first_chunk()?),
        ANNOUNCED => shared.announce.store(false, Ordering::Release),
        SET_PAIRS => {
            let wanted = u16::from_le_bytes(*data.first_chunk()?);
            if wanted == 0 || wanted > pairs {
                return None;
            }
            shared.pairs.store(wanted, Ordering::Release);
        }
        _ => return None,
    }
    Some(())
}

/// A table of addresses, and what follows it. Where the command was cut, the table ends there.
fn table(data: &[u8]) -> Option<(Vec<Mac>, &[u8])> {
    let count = u32::from_le_bytes(*data.first_chunk()?) as usize;
    let entries = &data[4..];
    let bytes = count.saturating_mul(6);
    if bytes > entries.len() && entries.len() < COMMAND_BYTES - 2 - 8 - 6 {
        return None;
    }
    let (addresses, rest) = entries.split_at(bytes.min(entries.len()));
    let table = addresses.as_chunks::<6>().0.to_vec();
    Some((table, if bytes > entries.len() { &[0; 4] } else { rest }))
}
