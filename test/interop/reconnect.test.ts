// run: quick
// deadline: 360 s
/** A guest's disk rides out whatever happens to its gateway: a pause, never an I/O error (D-13). */
import { test } from 'uvu';
import { hasTool } from '../helpers/requires.js';
import { reconnectClients } from './reconnect-clients.js';
import { reconnectRun } from './reconnect-run.js';

const ROUNDS = 1;
const SEED = 20261123;

for (const client of reconnectClients) {
  const name = `${client.name}: kills, restarts and upgrades are pauses`;
  const lacks = client.lacks ?? (hasTool('nbdcopy') ? undefined : 'nbdcopy');
  if (lacks === undefined) {
    test(name, async () => {
      for (const line of await reconnectRun(client, ROUNDS, SEED))
        process.stdout.write(`${client.name}: ${line}\n`);
    });
  } else {
    process.stderr.write(`skipped: ${name} (needs ${lacks})\n`);
    test.skip(name, () => {});
  }
}

test.run();
