import { appendFileSync, existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { ControlListener } from './control-pair.js';
import { FakeCluster, fakeNode } from './fake-cluster.js';

/**
 * A process that takes the options of the daemon and speaks the control protocol, for tests of `dog cluster up`.
 * Sheep find each other through files in the coordinator's directory. FAKE_SHEEP_FAULT makes it misbehave:
 * `crash` (ends at start), `deaf` (never listens), `stubborn` (ignores shutdown and SIGTERM).
 */
const names = [
  'dir',
  'coordinator',
  'host',
  'port',
  'nbd-port',
  'http-port',
  'unix-socket',
  'nbd-socket',
  'zone',
  'log',
  'pid-file',
];
const { values } = parseArgs({
  options: Object.fromEntries(names.map((name) => [name, { type: 'string' as const }])),
  strict: true,
});
const option = (name: string): string => {
  const value = values[name];
  if (typeof value !== 'string') throw new Error(`--${name} is missing`);
  return value;
};

const fault = process.env.FAKE_SHEEP_FAULT;
const port = Number(option('port'));
const coordinator = option('coordinator');
const memberFile = join(coordinator, `member-${port}`);
const formattedFile = join(coordinator, 'formatted');

appendFileSync(option('log'), `fake sheep starts on port ${port}\n`);
if (fault === 'crash') {
  appendFileSync(option('log'), 'listen EADDRINUSE: address already in use\n');
  process.exit(3);
}
writeFileSync(option('pid-file'), `${process.pid}\n`);
writeFileSync(memberFile, String(process.pid));

const cluster = new FakeCluster();

function stop(): void {
  if (fault === 'stubborn') return;
  rmSync(memberFile, { force: true });
  rmSync(option('pid-file'), { force: true });
  process.exit(0);
}

function stopOthers(): void {
  for (const file of readdirSync(coordinator).filter((name) => name.startsWith('member-'))) {
    const pid = Number(readFileSync(join(coordinator, file), 'utf8'));
    if (pid !== process.pid) process.kill(pid, 'SIGTERM');
  }
}

async function listen(): Promise<void> {
  await ControlListener.start(
    async (method, params, blob, onProgress) => {
      const ports = readdirSync(coordinator)
        .filter((name) => name.startsWith('member-'))
        .map((name) => Number(name.slice(7)));
      cluster.nodes = ports.sort().map((one, index) => fakeNode(index, one));
      cluster.status = existsSync(formattedFile) ? 'running' : 'wait-for-format';
      const answer = await cluster.call(method, params, blob, onProgress);
      if (method === 'cluster.format') writeFileSync(formattedFile, JSON.stringify(params));
      if (method === 'cluster.shutdown') {
        stopOthers();
        setTimeout(stop, 10);
      }
      return answer;
    },
    {},
    port,
  );
}

process.on('SIGTERM', stop);
// Ends by itself in any case, so that a failed test leaves nothing behind.
setTimeout(() => process.exit(9), 60_000);
if (fault !== 'deaf') await listen();
