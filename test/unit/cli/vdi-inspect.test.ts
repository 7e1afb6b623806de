import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { DogBench, type DogResult } from '../../helpers/run-dog.js';

/** Commands that look at volumes and their objects: graph, track, check, lock, alter-copy, cluster snapshot. */
const test = suite<{ bench: DogBench }>('vdi-inspect');
test.before.each(async (context) => {
  context.bench = await DogBench.start();
});
test.after.each(async (context) => {
  await context.bench.stop();
});

function expect(result: DogResult, exit: number, stdout: string, stderr = ''): void {
  assert.is(result.stderr, stderr, 'stderr');
  assert.is(result.stdout, stdout, 'stdout');
  assert.is(result.exit, exit, 'exit');
}

const emptyGraph = `digraph G {
  node [shape = "box", fontname = "Courier"];

  "0" [shape = "ellipse", label = "root"];

`;

test('the graph of an empty cluster is a root alone', async ({ bench }) => {
  expect(await bench.run('vdi graph'), 0, `${emptyGraph}}\n`);
});

test('the graph has a box for each version, working ones in red', async ({ bench }) => {
  bench.cluster.add('alpha', 134217728, { vid: 0xed202b, snapshot: true, snapId: 1, tag: 's1' });
  bench.cluster.add('cl"2', 134217728, { vid: 0x42558, parentVid: 0xed202b, clone: true });
  const { stdout } = await bench.run('vdi graph');
  const at = new Date(Date.UTC(2026, 10, 22, 23, 55, 43));
  const two = (value: number): string => String(value).padStart(2, '0');
  const date = `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())}`;
  const time = `${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}`;
  assert.is(
    stdout,
    `${emptyGraph}  "ed202b" -> "42558";
  "42558" [
    group = "cl\\"2",
    label = "Name:      cl\\"2\\nTag:           0\\nSize:     128 MB\\nDate: ${date}\\nTime:   ${time}",
    color="red"
  ];

  "0" -> "ed202b";
  "ed202b" [
    group = "alpha",
    label = "Name:      alpha\\nTag:           1\\nSize:     128 MB\\nDate: ${date}\\nTime:   ${time}"
  ];

}
`,
  );
});

const epochs = (oid: string): string => `
obj ${oid} locations at epoch 2, copies = 3
---------------------------------------------------
127.0.0.1:7001
127.0.0.1:7002

obj ${oid} locations at epoch 1, copies = 3
---------------------------------------------------
127.0.0.1:7001
127.0.0.1:7000
127.0.0.1:7002
`;

test('track shows where an object lay in each epoch', async ({ bench }) => {
  bench.cluster.add('alpha', 134217728, { vid: 0xed2033 });
  const inode = '80ed203300000000';
  expect(
    await bench.run('vdi track alpha'),
    0,
    `Tracking the inode object 0xed2033 with 3 nodes\n${epochs(inode)}`,
  );
  const data = '00ed202b00000000';
  expect(
    await bench.run('vdi track alpha -i 0'),
    0,
    `Tracking the object ${data} (the inode vid 0xed2033 idx 0) with 3 nodes\n${epochs(data)}`,
  );
  expect(
    await bench.run('vdi track -o 80ed203300000000'),
    0,
    `Tracking the object ${inode} with 3 nodes\n${epochs(inode)}`,
  );
  expect(
    await bench.run('vdi track alpha -r'),
    0,
    `${inode} 2 127.0.0.1:7001 127.0.0.1:7002\n${inode} 1 127.0.0.1:7001 127.0.0.1:7000 127.0.0.1:7002\n`,
  );
});

const noInode =
  'Failed to open VDI nosuch (snapshot id: 0 snapshot tag: ): No VDI found\nFATAL: no inode objects\n';

test('track refuses what is not there', async ({ bench }) => {
  expect(await bench.run('vdi track nosuch'), 1, '', noInode);
  bench.cluster.add('alpha', 134217728);
  expect(
    await bench.run('vdi track alpha -i 99999999'),
    1,
    '',
    'Index 99999999 is past the end: alpha has 32 objects\n',
  );
  assert.is((await bench.run('vdi track')).exit, 64);
  expect(await bench.run('vdi track -o xyz'), 1, '', 'object id must be a hex integer\n');
});

test('check of a volume that is right says so', async ({ bench }) => {
  bench.cluster.add('alpha', 1);
  expect(await bench.run('vdi check alpha'), 0, 'finish check&repair alpha\n');
  expect(await bench.run('vdi check -e alpha'), 0, 'alpha is fine, no object is missing.\n');
  expect(await bench.run('vdi check -n alpha'), 0, 'finish check alpha\n');
  expect(await bench.run('vdi check nosuch'), 1, '', noInode);
});

const at = (port: number, state: 'good' | 'missing' | 'bad') => ({ host: '127.0.0.1', port, state });

test('check tells what it repaired, and what it could not', async ({ bench }) => {
  bench.cluster.add('cor', 1);
  const { uploads } = bench.cluster;
  uploads.found = [
    { oid: '0001788f00000000', index: 0, outcome: 'repaired', replicas: [at(7000, 'good'), at(7001, 'bad')] },
    {
      oid: '0001788f00000001',
      index: 1,
      outcome: 'repaired',
      replicas: [at(7000, 'missing'), at(7001, 'good')],
    },
  ];
  const fixed = 'fixed replica 0001788f00000000\nfixed missing 0001788f00000001\nfinish check&repair cor\n';
  expect(await bench.run('vdi check cor'), 0, fixed);
  uploads.found.push(
    { oid: '0001788f00000002', index: 2, outcome: 'unclear', replicas: [at(7000, 'bad'), at(7001, 'bad')] },
    { oid: '0001788f00000003', index: 3, outcome: 'lost', replicas: [at(7000, 'missing')] },
  );
  const stderr = 'no majority of 0001788f00000002\nno node has 0001788f00000003\n';
  expect(await bench.run('vdi check cor'), 1, fixed, stderr);
});

test('check without repair names the replicas that are not right', async ({ bench }) => {
  bench.cluster.add('cor', 1);
  bench.cluster.uploads.found = [
    { oid: '0001788f00000000', index: 0, outcome: 'differ', replicas: [at(7000, 'good'), at(7001, 'bad')] },
  ];
  const line = '[127.0.0.1:7001] 0001788f00000000 is not right\nfinish check cor\n';
  expect(await bench.run('vdi check -n cor'), 1, line);
});

test('check -e counts what is missing', async ({ bench }) => {
  bench.cluster.add('cor', 1);
  bench.cluster.uploads.found = [
    {
      oid: '0001788f00000001',
      index: 1,
      outcome: 'differ',
      replicas: [at(7000, 'good'), at(7002, 'missing')],
    },
  ];
  expect(
    await bench.run('vdi check -e cor'),
    1,
    '[127.0.0.1:7002] oid 0001788f00000001 is missing.\ncor lost 1 object(s).\n',
  );
});

test('check says what it could not look at', async ({ bench }) => {
  bench.cluster.add('alpha', 1);
  bench.cluster.uploads.unchecked = 4;
  const note = '4 object(s) have copies on sheep that are down or catching up: not checked there\n';
  expect(await bench.run('vdi check alpha'), 0, 'finish check&repair alpha\n', note);
});

const lockHeading = '  Name         Id  VDI id  Tag            Owner node(s)\n';

test('lock list shows owners, and their states when they share', async ({ bench }) => {
  const { uploads } = bench.cluster;
  expect(await bench.run('vdi lock list'), 0, lockHeading);
  const owner = (port: number) => ({ host: '127.0.0.1', port });
  uploads.locks = [
    {
      name: 'lk2',
      vid: 0xa45496,
      snapId: 0,
      tag: '',
      shared: true,
      owners: [
        { ...owner(7000), state: 'modified' },
        { ...owner(7001), state: 'invalidated' },
      ],
    },
    { name: 'lk', vid: 0x53f220, snapId: 0, tag: '', shared: false, owners: [owner(7000)] },
  ];
  expect(
    await bench.run('vdi lock list'),
    0,
    `${lockHeading}  lk            0  53f220                 IPv4 ip:127.0.0.1 port:7000
  lk2           0  a45496                 IPv4 ip:127.0.0.1 port:7000(modified) IPv4 ip:127.0.0.1 port:7001(invalidated)
`,
  );
  expect(
    await bench.run('vdi lock list -r'),
    0,
    '= lk 0 53f220  127.0.0.1:7000\n= lk2 0 a45496  127.0.0.1:7000:modified 127.0.0.1:7001:invalidated\n',
  );
});

test('unlock takes a lock away, and says when there is none', async ({ bench }) => {
  bench.cluster.add('alpha', 1, { vid: 0xed2033 });
  bench.cluster.uploads.locks = [
    { name: 'alpha', vid: 0xed2033, snapId: 0, tag: '', shared: false, owners: [] },
  ];
  expect(await bench.run('vdi lock unlock alpha'), 0, '');
  expect(await bench.run('vdi lock unlock alpha'), 1, '', 'VDI alpha (vid=ed2033) is not locked\n');
  expect(await bench.run('vdi lock unlock nosuch'), 1, '', 'Failed to find VDI nosuch: No VDI found\n');
});

test('alter-copy speaks in the words of the original', async ({ bench }) => {
  const beta = bench.cluster.add('beta', 1);
  expect(
    await bench.run('vdi alter-copy beta -c 3 -f'),
    1,
    '',
    "beta's redundancy level is already set to 3, nothing changed.\n",
  );
  expect(
    await bench.run('vdi alter-copy nosuch -c 2 -f'),
    1,
    '',
    "Failed to open VDI nosuch (snapshot id: 0 snapshot tag: ): No VDI found\nReading nosuch's vdi object failure.\n",
  );
  const declined = await bench.run('vdi alter-copy beta -c 2', { stdin: 'no\n' });
  assert.equal([declined.exit, beta.info.copies], [1, 3]);
  assert.match(
    declined.stdout,
    /Changing VDI's redundancy level will affect\n .* the VDI itself only and trigger/,
  );
  const done = "beta's redundancy level is set to 2, the old one was 3.\n";
  expect(await bench.run('vdi alter-copy beta -c 2 -f'), 0, '', done);
  assert.is(beta.info.copies, 2);
});

test('alter-copy is refused when the copies do not fit, and says so before', async ({ bench }) => {
  const beta = bench.cluster.add('beta', 1);
  const row = {
    id: 'node0',
    host: '127.0.0.1',
    port: 7000,
    up: true,
    lossObjects: 0,
    lossBytes: 0,
    freeBytes: 0,
  };
  bench.cluster.plan = {
    ...bench.cluster.plan,
    changes: true,
    movedObjects: 1,
    nodes: [{ ...row, gainObjects: 1, gainBytes: 2 ** 30, fits: false }],
    refusals: [{ code: 'no-space', text: 'it does not fit' }],
  };
  const said = await bench.run('vdi alter-copy beta -c 4 --dry-run');
  assert.equal([said.exit, beta.info.copies], [0, 3]);
  assert.match(said.stdout, /takes about 1\.0 GB in 1 object; 0\.0 MB are free: it does not fit\n/);
  assert.equal([(await bench.run('vdi alter-copy beta -c 4')).exit, beta.info.copies], [4, 3]);
  assert.equal([(await bench.run('vdi alter-copy beta -c 4 -f')).exit, beta.info.copies], [0, 4]);
});

test('alter-copy of a volume with snapshots says that they change with it', async ({ bench }) => {
  const beta = bench.cluster.add('beta', 1);
  bench.cluster.add('child', 1, { parentVid: beta.info.vid, rootVid: beta.info.rootVid });
  const declined = await bench.run('vdi alter-copy beta -c 2', { stdin: 'no\n' });
  assert.match(declined.stdout, /the VDI and the 1 it shares objects with and trigger recovery/);
});

test('snapshots of a whole cluster are not there yet, and say so', async ({ bench }) => {
  for (const form of ['save t /tmp/x', 'list /tmp/x', 'load t /tmp/x', 'show t /tmp/x']) {
    const result = await bench.run(`cluster snapshot ${form}`);
    assert.is(result.exit, 1);
    assert.match(result.stderr, /^Snapshots of a whole cluster are not available yet\n/);
  }
});

test.run();
