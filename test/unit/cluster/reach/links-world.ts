import { AppError } from '../../../../src/base/errors.js';
import { silentLogger } from '../../../../src/base/log.js';
import { SeededRandom } from '../../../../src/base/random.js';
import { Links, type PeerAddresses, type PeerHandler } from '../../../../src/cluster/reach/links.js';
import type { Transport } from '../../../../src/net/transport.js';
import { emptyMessage, type PeerMessage, PeerType } from '../../../../src/wire/peer-message.js';
import { type NodeClock, SimClock } from '../../../helpers/sim-clock.js';
import { SimNetwork } from '../../../helpers/sim-net.js';

/**
 * Two or more nodes over a simulated network; each answers with what its handler says. With `io` a node has a second
 * address, `<id>-io`, which the network knows as a host of its own.
 */
export class World {
  readonly clock = new SimClock();
  readonly network = new SimNetwork({ clock: this.clock, random: new SeededRandom(3), slowChance: 0 });
  readonly refused: string[] = [];
  readonly addresses = new Map<string, PeerAddresses>();
  clocks = new Map<string, NodeClock>();

  node(
    id: string,
    handler: PeerHandler = echo,
    options: { formatId?: string; as?: string; io?: boolean } = {},
  ): Links {
    const io = options.io ? { ioHost: `${id}-io`, ioPort: 2 } : {};
    const address = this.addresses.get(id) ?? { host: id, port: 1, ...io };
    this.addresses.set(id, address);
    const clock = this.clock.forNode(id);
    this.clocks.set(id, clock);
    return new Links(
      {
        selfId: options.as ?? id,
        incarnation: () => `${id}-1`,
        formatId: options.formatId ?? 'format',
        transport: this.transport(id, address, clock),
        clock,
        log: silentLogger,
        addressOf: (other) => this.addresses.get(other),
        usesIo: options.io ?? false,
        onRefused: (other) => this.refused.push(other),
      },
      handler,
    );
  }

  /** Cuts one way, between a node and the I/O address of another one. */
  cutIo(from: string, to: string, blocked = true): void {
    this.network.setBlocked(from, `${to}-io`, blocked);
  }

  kill(id: string, silent = false): void {
    this.network.kill(id, { silent });
    this.network.kill(`${id}-io`, { silent });
    this.clocks.get(id)!.kill();
  }

  /** The outcome after simulated time; 'pending' when there is none by then. */
  async outcome(work: Promise<PeerMessage>, withinMs = 500): Promise<PeerMessage | AppError | 'pending'> {
    let result: PeerMessage | AppError | 'pending' = 'pending';
    work.then(
      (answer) => (result = answer),
      (error) => (result = error),
    );
    await this.run(withinMs);
    return result;
  }

  run(ms: number): Promise<void> {
    return this.clock.run({ untilMs: this.clock.nowMs() + ms, eventsMax: 100_000 });
  }

  private transport(id: string, address: PeerAddresses, clock: NodeClock): Transport {
    const main = this.network.transportFor(id, address, clock);
    if (address.ioHost === undefined) return main;
    const io = this.network.transportFor(`${id}-io`, { host: address.ioHost, port: address.ioPort! }, clock);
    return {
      connect: (to) => main.connect(to),
      listen: (onChannel) => {
        main.listen(onChannel);
        io.listen(onChannel);
      },
      close: async () => {
        await main.close();
        await io.close();
      },
    };
  }
}

export const echo: PeerHandler = async (message) => {
  const answer = emptyMessage(message.type + 1);
  answer.offset = message.offset;
  return answer;
};

export function request(offset = 0): PeerMessage {
  const message = emptyMessage(PeerType.read);
  message.offset = offset;
  return message;
}

export const never: PeerHandler = () => new Promise(() => {});

export function isNetwork(value: unknown): boolean {
  return AppError.isCode(value, 'network');
}
