import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { formatDuration, parseDuration } from '../../../src/cli/durations.js';
import type { ScrubNode, ScrubStatus } from '../../../src/control/api.js';
import { ControlListener } from '../../helpers/control-pair.js';
import { type DogResult, dog } from '../../helpers/run-dog.js';

const counts = { objects: 3, bytes: 36 * 2 ** 20, found: 1, repaired: 1, failed: 0, strays: 0 };
const node: ScrubNode = {
  host: '127.0.0.1',
  port: 7000,
  up: true,
  state: 'running',
  passes: 4,
  elapsedMs: 5000,
  counts,
  doneBytes: counts.bytes,
  storedBytes: 72 * 2 ** 20,
  unrepairable: 0,
};
const status: ScrubStatus = {
  periodMs: 7 * 86_400_000,
  stopped: false,
  round: 0,
  waiting: false,
  nodes: [node],
  unrepairable: [],
  unlisted: 0,
};

/** A sheep that knows nothing but `cluster.scrub`: it gives one answer after the other, the last one for ever. */
class Bench {
  readonly asked: unknown[] = [];
  readonly answers: ScrubStatus[] = [status];
  private constructor(private listener: ControlListener | undefined) {}

  static async start(): Promise<Bench> {
    const bench = new Bench(undefined);
    bench.listener = await ControlListener.start(async (method, params) => {
      assert.is(method, 'cluster.scrub');
      bench.asked.push(params);
      return { result: bench.answers.length > 1 ? bench.answers.shift() : bench.answers[0] };
    });
    return bench;
  }

  run(line: string): Promise<DogResult> {
    return dog([...line.split(' '), '-p', String(this.listener!.port)]);
  }

  async stop(): Promise<void> {
    await this.listener?.stop();
  }
}

const test = suite<{ bench: Bench }>('cluster scrub');
test.before.each(async (context) => {
  context.bench = await Bench.start();
});
test.after.each(({ bench }) => bench.stop());

const heading =
  'One pass in 7 d.\nHost:Port              State    Done   Found  Repaired  Broken  Last pass\n';

test('the status is a table, and raw lines for programs', async ({ bench }) => {
  const shown = await bench.run('cluster scrub');
  assert.is(
    shown.stdout,
    `${heading}127.0.0.1:7000         running   50%       1         1       0  never\n`,
  );
  assert.is(shown.exit, 0);
  const raw = await bench.run('cluster scrub status -r');
  assert.is(raw.stdout, `127.0.0.1:7000 running ${counts.bytes} ${node.storedBytes} 1 1 0 4\n`);
});

test('what cannot be repaired is named with its place, and fails the command', async ({ bench }) => {
  const { answers } = bench;
  const place = { name: 'first', tag: '', snapId: 0, deleted: false, part: 'data', offsets: [4096] } as const;
  const more = { ...place, snapId: 3, part: 'inode' } as const;
  const unrepairable = [
    { oid: '00aa', blocks: [1], place: { ...place, offsets: [4096] } },
    { oid: '80aa', blocks: [1], place: { ...more, offsets: [0] } },
    { oid: '00ab', blocks: [], place: { ...place, offsets: [] } },
    { oid: '00ac', blocks: [] },
  ];
  answers[0] = { ...status, unrepairable, unlisted: 2 };
  const { exit, stderr } = await bench.run('cluster scrub');
  assert.is(exit, 1);
  assert.is(
    stderr,
    `no replica is right: first at 4096 (object 00aa)
no replica is right: first (snapshot 3) in its inode at 0 (object 80aa)
no replica is right: first, all of object 00ab
no replica is right: object 00ac of no volume
2 more objects have no replica that is right
`,
  );
});

test('start, stop and period say what is so now', async ({ bench }) => {
  const { asked, answers } = bench;
  assert.is((await bench.run('cluster scrub start')).stdout, 'One pass in 7 d.\n');
  answers[0] = { ...status, stopped: true };
  assert.is((await bench.run('cluster scrub stop')).stdout, 'Scrubbing is stopped.\n');
  answers[0] = { ...status, periodMs: 0, waiting: true };
  const text = 'Scrubbing only when started; waiting until all sheep are up and in sync.\n';
  assert.is((await bench.run('cluster scrub period 0')).stdout, text);
  await bench.run('cluster scrub period 12h');
  const wanted = [{ action: 'start' }, { action: 'stop' }, { periodMs: 0 }, { periodMs: 43_200_000 }];
  assert.equal(asked, wanted);
  const wrong = await bench.run('cluster scrub period soon');
  assert.is(wrong.exit, 64);
  assert.match(wrong.stderr, /^Invalid time 'soon'\n/);
});

test('start -w waits for a pass more of everybody who is up', async ({ bench }) => {
  const { answers } = bench;
  const down = { ...node, port: 7001, up: false };
  const last = { ...counts, tookMs: 1000, wallMs: 0 };
  answers[0] = { ...status, nodes: [node, down] };
  answers.push({ ...status, nodes: [node, down] });
  answers.push({ ...status, nodes: [{ ...node, state: 'idle', passes: 5, last }, down] });
  const { exit, stdout } = await bench.run('cluster scrub start -w');
  assert.is(exit, 0);
  assert.match(stdout, /127\.0\.0\.1:7000 +idle +- +1 +1 +0 {2}\d{4}-.*, 36 MB in 1 s\n/);
  assert.match(stdout, /127\.0\.0\.1:7001 +down /);
});

test('lengths of time are read and written', () => {
  assert.equal(['0', '90s', '2m', '1.5h', '7d', '7', '1w', ''].map(parseDuration), [
    0,
    90_000,
    120_000,
    5_400_000,
    604_800_000,
    undefined,
    undefined,
    undefined,
  ]);
  assert.equal([0, 1500, 61_000, 7_200_000, 604_800_000].map(formatDuration), [
    '0 s',
    '1.5 s',
    '1 min',
    '2 h',
    '7 d',
  ]);
});

test.run();
