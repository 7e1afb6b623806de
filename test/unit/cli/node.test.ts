import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { INODE_INDEX_OFFSET, inodeHeader } from '../../../src/wire/inode.js';
import { DogBench, dog } from '../../helpers/run-dog.js';

async function withBench(run: (bench: DogBench) => Promise<void>): Promise<void> {
  const bench = await DogBench.start();
  // Each sheep answers for itself: here all of them are the same one.
  for (const node of bench.cluster.nodes) node.port = bench.port;
  try {
    await run(bench);
  } finally {
    await bench.stop();
  }
}

test('node md info has the columns of the original, for one sheep and for all', () =>
  withBench(async (bench) => {
    const row = ' 0\t74 GB\t112 MB\t74 GB\t  0%\t/store/0\n';
    const heading = 'Id\tSize\tUsed\tAvail\tUse%\tPath\n';
    assert.is((await bench.run('node md info')).stdout, heading + row);
    assert.is(
      (await bench.run('node md info -A')).stdout,
      `${heading}Node 0:\n${row}Node 1:\n${row}Node 2:\n${row}`,
    );
    assert.is(
      (await bench.run('node md info -r')).stdout,
      `127.0.0.1:${bench.port} 0 79219036160 117551104 79101485056 0% /store/0\n`,
    );
    const json = JSON.parse((await bench.run('node md info -A --json')).stdout) as { disks: unknown[] }[];
    assert.equal([json.length, json[2]!.disks.length], [3, 1]);
  }));

test('node md info of an unformatted cluster fails after its heading', () =>
  withBench(async (bench) => {
    bench.cluster.status = 'wait-for-format';
    const result = await bench.run('node md info');
    assert.equal([result.exit, result.stdout], [1, 'Id\tSize\tUsed\tAvail\tUse%\tPath\n']);
    assert.is(result.stderr, 'failed to get multi-disk information: Waiting for cluster to be formatted\n');
  }));

test('node recovery shows who catches up, and how far, with and without the word info', () =>
  withBench(async (bench) => {
    const heading = 'Nodes In Recovery:\n  Id   Host:Port         V-Nodes       Zone       Progress\n';
    assert.is((await bench.run('node recovery')).stdout, heading);
    bench.cluster.nodes[2]!.syncing = true;
    bench.cluster.recovery = { recovering: true, done: 84, total: 124 };
    const address = `127.0.0.1:${bench.port}`;
    for (const line of ['node recovery', 'node recovery info']) {
      assert.is(
        (await bench.run(line)).stdout,
        `${heading}   2   ${address.padEnd(20)}  128          2       67.7%\n`,
      );
    }
    assert.is((await bench.run('node recovery -r')).stdout, `2 ${address} 128 2 84 124\n`);
    const [row] = JSON.parse((await bench.run('node recovery --json')).stdout) as object[];
    assert.match(JSON.stringify(row), /"done":84,"total":124/);
  }));

test('node recovery --progress ends when all have caught up', () =>
  withBench(async (bench) => {
    bench.cluster.nodes[0]!.syncing = true;
    bench.cluster.recovery = { recovering: true, done: 1, total: 2 };
    setTimeout(() => {
      bench.cluster.recovery = { recovering: false, done: 0, total: 0 };
    }, 50);
    assert.is((await bench.run('node recovery -P')).exit, 0);
  }));

test('a limit for catching up is refused, and no limit is what there is', () =>
  withBench(async (bench) => {
    assert.is((await bench.run('node recovery get-throttle')).stderr, 'max (0), interval (0)\n');
    assert.is((await bench.run('node recovery set-throttle 0 0')).exit, 0);
    assert.is((await bench.run('node recovery set-throttle 10 100')).exit, 1);
    assert.is((await bench.run('node recovery set-throttle 10 0')).exit, 64);
    assert.is((await bench.run('node recovery set-throttle x 0')).exit, 64);
  }));

test('node kill asks the sheep of that number, or the one that is addressed', () =>
  withBench(async (bench) => {
    for (const line of ['node kill 2', 'node kill -l']) {
      bench.cluster.calls.length = 0;
      assert.is((await bench.run(line)).exit, 0);
      assert.ok(bench.cluster.calls.includes('node.kill'), line);
    }
    bench.cluster.calls.length = 0;
    for (const [line, text] of [
      ['node kill 3', "Invalid node id '3'\n"],
      ['node kill x', "Invalid node id 'x'\n"],
      ['node kill', 'please specify -l option or node id\n'],
    ] as const) {
      const result = await bench.run(line);
      assert.equal([result.exit, result.stderr], [64, text]);
    }
    assert.not(bench.cluster.calls.includes('node.kill'));
    bench.cluster.nodes[1]!.up = false;
    assert.is((await bench.run('node kill 2')).exit, 64, 'ids are those of the list');
  }));

test('node log level speaks on standard error, as the original does', () =>
  withBench(async (bench) => {
    assert.is((await bench.run('node log level get')).stderr, 'info (6)\n');
    assert.is((await bench.run('node log level set 7')).exit, 0);
    assert.is((await bench.run('node log level get')).stderr, 'debug (7)\n');
    const list = await bench.run('node log level list');
    assert.match(list.stderr, /^emerg\t\(0\)\n(.*\n){6}debug\t\(7\)\n$/);
    const bad = await bench.run('node log level set loud');
    assert.is(bad.exit, 64);
    assert.ok(bad.stderr.startsWith(`invalid loglevel: loud\navailable loglevels:\n${list.stderr}`));
    assert.is((await bench.run('node log level get --json')).stdout, '{\n  "level": "debug"\n}\n');
  }));

test('what a cluster cannot do yet fails with exit 1 and names the way out', () =>
  withBench(async (bench) => {
    const { exit, stdout, stderr } = await bench.run('cluster reweight');
    assert.equal([exit, stdout], [1, '']);
    assert.ok(stderr.trim().split('\n').length >= 2, stderr);
    assert.equal(bench.cluster.formats, []);
  }));

test('cluster alter-copy asks, and says what was', () =>
  withBench(async (bench) => {
    const declined = await bench.run('cluster alter-copy -c 2', { stdin: 'no\n' });
    assert.equal([declined.exit, bench.cluster.copies], [1, 3]);
    assert.match(declined.stdout, /Caution! Changing cluster's redundancy level/);
    const done = await bench.run('cluster alter-copy -c 2 -f');
    assert.is(done.stderr, "The cluster's redundancy level is set to 2, the old one was 3.\n");
    const same = await bench.run('cluster alter-copy -c 2 -f');
    assert.is(same.exit, 1);
    assert.is(same.stderr, "The cluster's redundancy level is already set to 2, nothing changed.\n");
    assert.is((await bench.run('cluster alter-copy -c 4 -f')).exit, 1);
    assert.is((await bench.run('cluster alter-copy -f')).exit, 64);
  }));

test('cluster recover force never does what it cannot undo', () =>
  withBench(async (bench) => {
    const running = await bench.run('cluster recover force -f');
    assert.is(running.exit, 1);
    assert.match(running.stderr, /^failed to execute request, Cluster is running\/halted/);
    bench.cluster.status = 'wait-for-join';
    bench.cluster.waiting = ['the newest content of some objects is on nodes that are down: h:7001'];
    const waiting = await bench.run('cluster recover force', { stdin: 'yes\n' });
    assert.is(waiting.exit, 1);
    assert.match(waiting.stderr, /^Nothing was changed: sheep are given up by name\n {2}the newest content/);
    assert.is((await bench.run('cluster recover enable')).stdout, 'Cluster recovery: enable\n');
  }));

test('notes do not get into what programs read while a cluster serves', () =>
  withBench(async (bench) => {
    bench.cluster.nodes[1]!.up = false;
    const quiet = await bench.run('cluster info');
    assert.not.match(quiet.stdout + quiet.stderr, /Note:/);
    assert.match((await bench.run('cluster info', { terminal: true })).stderr, /Note: .* is down/);
  }));

test('old libvirt is shown working volumes only, each as a plain one', () =>
  withBench(async (bench) => {
    bench.cluster.add('plain', 2 ** 20);
    bench.cluster.add('clone', 2 ** 20, { clone: true });
    bench.cluster.add('plain', 2 ** 20, { snapshot: true, snapId: 1, tag: 's' });
    bench.cluster.add('with space', 2 ** 20);
    const env = { SHEEPFOLD_DOG_COMPAT: 'libvirt' };
    const names = (text: string) => text.split('\n').map((line) => line.split(' ').slice(0, 2).join(' '));
    assert.equal(names((await bench.run('vdi list -r', { env })).stdout), ['= plain', '= clone', '']);
    assert.equal(names((await bench.run('vdi list -r')).stdout), [
      '= plain',
      'c clone',
      's plain',
      '= with\\',
      '',
    ]);
    assert.is((await bench.run('vdi list clone -r', { env })).stdout.slice(0, 8), '= clone ');
  }));

test('vdi object dump-inode reads a file and needs no cluster', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'sheepfold-inode-'));
  try {
    const header = {
      name: 'alpha',
      tag: 's1',
      createTime: 0x6b0380ff27c73270n,
      snapTime: 0n,
      vmClockNsec: 0n,
      vdiSize: 12_582_912n,
      vmStateSize: 0n,
      copyPolicy: 0,
      storePolicy: 0,
      copies: 3,
      blockSizeShift: 22,
      snapId: 1,
      vid: 0xed202b,
      parentVid: 0,
      btreeCounter: 0,
    };
    const bytes = Buffer.alloc(INODE_INDEX_OFFSET + 12);
    bytes.set(inodeHeader.encode(header));
    bytes.writeUInt32LE(0xed202b, INODE_INDEX_OFFSET + 8);
    const file = join(folder, '80ed202b00000000');
    writeFileSync(file, bytes);
    const { stdout, exit } = await dog(['vdi', 'object', 'dump-inode', file]);
    assert.is(exit, 0);
    assert.ok(
      stdout.startsWith('name: alpha\ntag: s1\ncreate_time: 6b0380ff27c73270\nsnap_ctime: 0\n'),
      stdout,
    );
    assert.ok(stdout.endsWith('btree_counter: 0\ndata_vdi_id: 2:ed202b\ngref:\n'), stdout);
    writeFileSync(file, 'short');
    assert.is((await dog(['vdi', 'object', 'dump-inode', file])).exit, 1);
    const missing = await dog(['vdi', 'object', 'dump-inode', join(folder, 'no')]);
    assert.is(missing.stderr, 'failed to open inode object file: No such file or directory\n');
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});

test.run();
