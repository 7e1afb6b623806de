import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { addressBytes } from '../../../src/wire/address.js';
import * as records from '../../../src/wire/records.js';

test('a node has its bytes', () => {
  const bytes = records.sdNode.encode({
    address: addressBytes('127.0.0.1')!,
    port: 7000,
    vnodes: 128,
    zone: 0x0100007f,
    spaceBytes: 0x1_0000_0000n,
  });
  assert.is(
    bytes.toString('hex'),
    `${'00'.repeat(24)}${'00'.repeat(12)}7f000001581b${'00'.repeat(22)}800000007f0000010000000001000000`,
  );
  assert.equal(
    bytes.subarray(24, 64),
    records.nodeId.encode({ address: addressBytes('127.0.0.1')!, port: 7000 }),
  );
});

test('an epoch record has its bytes', () => {
  const bytes = records.epochLog.encode({
    ctime: 1n,
    time: 2n,
    epoch: 3,
    nodeCount: 4,
    disableRecovery: 5,
    copies: 6,
    copyPolicy: 7,
    flags: 8,
    driverName: 'local',
  });
  assert.is(
    bytes.toString('hex'),
    `${'0100000000000000'}${'0200000000000000'}0300000004000000050607000000080${'06c6f63616c'}${'00'.repeat(11)}`,
  );
});

test('the head of cluster_info has its offsets, and 6144 nodes fill it', () => {
  const { fields } = records.clusterInfoHead;
  assert.equal(
    [fields.nodeCount, fields.epoch, fields.ctime, fields.flags, fields.status, fields.defaultStore].map(
      (f) => f.offset,
    ),
    [2, 4, 8, 16, 20, 25],
  );
  assert.is(48 + records.CLUSTER_INFO_NODES * records.sdNode.sizeBytes, records.CLUSTER_INFO_BYTES);
});

test('a vdi_state has its offsets', () => {
  const { fields } = records.vdiState;
  assert.is(fields.parentVid.offset, 12);
  assert.is(fields.lockState.offset, 16);
  assert.is(fields.lockOwner.offset, 20);
  assert.is(fields.participantStates.offset, 64);
  assert.is(fields.participants.offset, 188);
});

test('the disks of a node end where their count is', () => {
  assert.is(records.MD_DISKS_MAX * records.mdDisk.sizeBytes, records.MD_COUNT_OFFSET);
  assert.is(records.mdDisk.fields.path.offset, 24);
});

test('an attribute goes both ways', () => {
  const { fields } = records.attribute;
  assert.equal(
    [fields.ctime, fields.snapId, fields.valueLength, fields.key, fields.value].map((f) => f.offset),
    [512, 520, 524, 528, 784],
  );
  const bytes = records.attribute.encode({
    name: 'test',
    key: 'k',
    valueLength: 2,
    value: Buffer.from('vv'),
  });
  const back = records.attribute.decode(bytes);
  assert.is(back.name, 'test');
  assert.is(back.key, 'k');
  assert.is(back.value.toString('utf8', 0, back.valueLength), 'vv');
});

test('recovery records have their offsets', () => {
  assert.equal(records.recoveryState.fields.total, { offset: 16, size: 8 });
  assert.equal(records.recoveryThrottle.fields.throttling, { offset: 16, size: 1 });
  assert.equal(records.nodeStat.fields.peerWrite, { offset: 112, size: 8 });
});

test.run();
