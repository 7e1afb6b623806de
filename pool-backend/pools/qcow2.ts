/**
 * An empty qcow2 image (version 3) inside a volume. A cluster's volumes are thin and have snapshots themselves; qcow2
 * is for those who want libvirt's internal snapshots, which QEMU keeps inside the image and refuses on raw ones. The
 * volume is larger than the image, as metadata and the data of snapshots need room of their own.
 */
const CLUSTER_BITS = 16;
const CLUSTER_BYTES = 2 ** CLUSTER_BITS;
const REFCOUNT_ORDER = 4;
const HEADER_BYTES = 104;
const ENTRY_BYTES = 8;
/** Refcounts of 16 bits that fit one block, and the bytes that one L1 entry stands for. */
const REFCOUNTS_PER_BLOCK = (CLUSTER_BYTES * 8) / 2 ** REFCOUNT_ORDER;
const BYTES_PER_L2 = CLUSTER_BYTES * (CLUSTER_BYTES / ENTRY_BYTES);

/** Room for the snapshots' own data: as much again as the image. */
const SNAPSHOT_ROOM = 2;

const clustersFor = (bytes: number): number => Math.ceil(bytes / CLUSTER_BYTES);

interface Layout {
  readonly l1Entries: number;
  readonly l1Clusters: number;
  readonly refcountBlocks: number;
  readonly tableClusters: number;
}

/** Tables that stand at the beginning; the refcounts cover themselves and all that comes before the first data. */
function layoutOf(virtualBytes: number): Layout {
  const l1Entries = Math.max(1, Math.ceil(virtualBytes / BYTES_PER_L2));
  const l1Clusters = clustersFor(l1Entries * ENTRY_BYTES);
  // The whole volume's clusters could be counted in so many blocks; their table has to hold the pointers.
  const allBlocks = Math.ceil(clustersFor(volumeBytesFor(virtualBytes)) / REFCOUNTS_PER_BLOCK);
  const tableClusters = clustersFor(allBlocks * ENTRY_BYTES);
  const refcountBlocks = Math.ceil((2 + tableClusters + l1Clusters) / REFCOUNTS_PER_BLOCK);
  return { l1Entries, l1Clusters, refcountBlocks, tableClusters };
}

/** Bytes of the volume that holds an image of so many bytes, with as much again for snapshots and 1 % of metadata. */
export function volumeBytesFor(virtualBytes: number): number {
  const data = clustersFor(virtualBytes) * CLUSTER_BYTES * SNAPSHOT_ROOM;
  return data + Math.ceil(clustersFor(data) / 100) * CLUSTER_BYTES + 16 * CLUSTER_BYTES;
}

/** The first bytes of the volume; everything after them is zeroes. */
export function emptyQcow2(virtualBytes: number): Buffer {
  const { l1Entries, l1Clusters, refcountBlocks, tableClusters } = layoutOf(virtualBytes);
  const tableAt = 1;
  const blocksAt = tableAt + tableClusters;
  const l1At = blocksAt + refcountBlocks;
  const used = l1At + l1Clusters;
  const image = Buffer.alloc(used * CLUSTER_BYTES);
  image.write('QFI\xfb', 0, 'latin1');
  image.writeUInt32BE(3, 4);
  image.writeUInt32BE(CLUSTER_BITS, 20);
  image.writeBigUInt64BE(BigInt(virtualBytes), 24);
  image.writeUInt32BE(l1Entries, 36);
  image.writeBigUInt64BE(BigInt(l1At * CLUSTER_BYTES), 40);
  image.writeBigUInt64BE(BigInt(tableAt * CLUSTER_BYTES), 48);
  image.writeUInt32BE(tableClusters, 56);
  image.writeUInt32BE(REFCOUNT_ORDER, 96);
  image.writeUInt32BE(HEADER_BYTES, 100);
  for (let block = 0; block < refcountBlocks; block++) {
    const pointer = BigInt((blocksAt + block) * CLUSTER_BYTES);
    image.writeBigUInt64BE(pointer, tableAt * CLUSTER_BYTES + block * ENTRY_BYTES);
  }
  for (let cluster = 0; cluster < used; cluster++) {
    image.writeUInt16BE(1, blocksAt * CLUSTER_BYTES + cluster * 2);
  }
  return image;
}
