// Both wires over a Redis Cluster.
import { both } from "../lib/both.mjs";
import { RedisCluster } from "../lib/redis.mjs";

both("adapter", { over: RedisCluster });
both("streams", { over: RedisCluster, streamCount: 2 });
