// deadline: 900 s
/** The same with figures that mean something: how long the pauses are. */
import { test } from 'uvu';
import { hasTool } from '../helpers/requires.js';
import { reconnectClients } from './reconnect-clients.js';
import { reconnectRun } from './reconnect-run.js';

const ROUNDS = 8;
const SEED = 7;

for (const client of reconnectClients) {
  const name = `${client.name}: how long kills, restarts and upgrades pause`;
  if (client.lacks === undefined && hasTool('nbdcopy')) {
    test(name, async () => {
      for (const line of await reconnectRun(client, ROUNDS, SEED))
        process.stdout.write(`${client.name}: ${line}\n`);
    });
  } else {
    process.stderr.write(`skipped: ${name} (needs ${client.lacks ?? 'nbdcopy'})\n`);
    test.skip(name, () => {});
  }
}

test.run();
