/** Disks of guests that move, as tests of the rules want them. */
import { Element, type NbdDisk } from '../../../../src/vm/domain-xml.js';
import type { MovingDisk } from '../../../../src/vm/migrate/facts.js';

export function nbdVolume(change: Partial<NbdDisk> = {}): NbdDisk {
  return {
    ...{ target: 'vda', bus: 'virtio', device: 'disk', exportName: 'web', tls: false, readOnly: false },
    ...{ driver: {}, reconnectDelayS: 600, alias: undefined, sourceIndex: 1, element: new Element({}) },
    place: { host: '10.0.0.1', port: 10809 },
    ...change,
  };
}

type VolumeDisk = MovingDisk & { readonly content: { readonly kind: 'volume'; readonly nbd: NbdDisk } };

export function volumeDisk(change: Partial<NbdDisk> = {}): VolumeDisk {
  return {
    target: 'vda',
    writable: true,
    shareable: false,
    content: { kind: 'volume', nbd: nbdVolume(change) },
  };
}
