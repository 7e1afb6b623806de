// deadline: 420 s
/**
 * The two commands of the README in a copy of this checkout, without what was built: `npm start` makes a cluster, the
 * lines it prints work as they are, a second `npm start` changes nothing, and the last line removes everything.
 *
 * The same on a fresh machine, by hand: a minimal Debian in a folder (debootstrap), a shell in it with /proc and /dev,
 * `apt-get install nodejs npm git ca-certificates`, a clone, `npm start` twice, the printed lines, `npm test`.
 */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { execa } from 'execa';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { freePorts } from '../helpers/launcher.js';
import { NbdClient } from '../helpers/nbd-client.js';
import { requires } from '../helpers/requires.js';

const START_DEADLINE_MS = 180_000;
const COMMAND_DEADLINE_MS = 60_000;
const GIB = 1024 ** 3;

interface Bench {
  readonly parent: string;
  readonly checkout: string;
  /** What is written after `npm start --`: sheep 0 on `port`, its NBD door three ports on. */
  readonly options: readonly string[];
  readonly port: number;
}

async function withCheckout(body: (bench: Bench) => Promise<void>): Promise<void> {
  const parent = mkdtempSync(join(tmpdir(), 'start-'));
  const port = await freePorts(9);
  const options = ['-p', port, '--nbd-port', port + 3, '--http-port', port + 6].map(String);
  const bench: Bench = { parent, checkout: join(parent, 'checkout'), options, port };
  copyCheckout(bench.checkout);
  try {
    await body(bench);
  } finally {
    await shell(bench, 'npx dog cluster destroy --yes').catch(() => {});
    rmSync(parent, { recursive: true, force: true });
  }
}

/** What git would give to others, and the node modules as hard links, so that nothing is fetched. */
function copyCheckout(target: string): void {
  const copy = `mkdir -p "$0" && git ls-files -z -co --exclude-standard --deduplicate |
    while IFS= read -r -d '' f; do [ ! -e "$f" ] || printf '%s\\0' "$f"; done |
    xargs -0 cp --parents -t "$0" && cp -al node_modules "$0/"`;
  execFileSync('bash', ['-c', copy, target], { stdio: 'ignore' });
}

/** A line as somebody pastes it, in the checkout. No terminal: nothing is asked but what reads its answer. */
async function shell(
  bench: Bench,
  line: string,
  input = '',
  deadlineMs = COMMAND_DEADLINE_MS,
): Promise<string> {
  const result = await execa('bash', ['-c', line], {
    cwd: bench.checkout,
    env: { SHEEPFOLD_HOME: join(bench.parent, 'home'), SHEEPFOLD_SHEEP: undefined, CI: undefined },
    input,
    all: true,
    timeout: deadlineMs,
  });
  return result.all;
}

const start = (bench: Bench) =>
  shell(bench, `npm start -- ${bench.options.join(' ')}`, '', START_DEADLINE_MS);

requires(
  test,
  'git',
  'npm',
)('from a checkout to a volume, twice, and back to nothing', () =>
  withCheckout(async (bench) => {
    const first = await start(bench);
    assert.match(
      first,
      /Created the volume 'first': 4 GiB, 3 copies\.\nThe cluster runs, and the volume 'first' is/,
    );
    const uri = /nbd:\/\/127\.0\.0\.1:(\d+)\/first/.exec(first)!;
    assert.is(Number(uri[1]), bench.port + 3);
    const client = await NbdClient.open({ host: '127.0.0.1', port: Number(uri[1]) }, 'first');
    assert.is(client.sizeBytes, 4 * GIB);
    client.close();

    const lines = [...first.matchAll(/^ {2}(npx dog .*)$/gm)].map(([, line]) => line!);
    const remove = lines.pop()!;
    assert.match(remove, /^npx dog cluster destroy/);
    assert.ok(lines.length >= 2);
    for (const line of lines) await shell(bench, line);
    const before = await shell(bench, `npx dog vdi list -r -p ${bench.port}`);
    assert.match(before, / first /);
    assert.match(await shell(bench, 'npx sheep --help'), /^Usage: sheep/m);

    const second = await start(bench);
    assert.match(second, /^The cluster runs already, and the volume 'first' is/m);
    assert.not.match(second, /Created/);
    assert.is(await shell(bench, `npx dog vdi list -r -p ${bench.port}`), before);

    await shell(bench, remove, 'yes\n');
    assert.not.ok(existsSync(join(bench.parent, 'home')));
  }),
);

test.run();
