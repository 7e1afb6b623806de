/** Started by the guardian of a sheep that is gone: revokes the leases named on its command line. */
import { systemClock } from '../../base/clock.js';
import { silentLogger } from '../../base/log.js';
import { systemRandom } from '../../base/random.js';
import { parseEtcdAddress } from './address.js';
import { guardedAddress } from './guardian.js';
import { Members } from './members.js';

const LIMIT_MS = 10_000;

const address = guardedAddress(process.env);
if (address !== undefined) {
  const members = new Members({
    address: parseEtcdAddress(address),
    clock: systemClock,
    random: systemRandom,
    log: silentLogger,
  });
  const leases = process.argv.slice(2);
  await Promise.allSettled(
    leases.map((id) =>
      members.repeatable('leaseRevoke', { id: BigInt(`0x${id}`).toString() }, { limitMs: LIMIT_MS }),
    ),
  );
  members.close();
}
