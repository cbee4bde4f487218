"""A small installation without a mistake, for tests to plant some."""

from tests.deploy.documents import Manifests, load
from tests.deploy.known import CALLS, SETTINGS, main_module

PORTS = {"dataset": 50051, "labeling": 50052, "trainer": 50053, "inference": 50054, "gateway": 8080, "nats": 4222, "postgresql": 5432}
INSTANCES = {"protocol": "TCP", "port": 32768, "endPort": 60999}

_COMMON = """
apiVersion: v1
kind: ServiceAccount
metadata: {name: inkwright}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: settings}
data:
  INKWRIGHT_GRACE_SECONDS: "10"
  INKWRIGHT_DATASET_ADDRESS: "dataset:50051"
  INKWRIGHT_LABELING_ADDRESS: "labeling:50052"
  INKWRIGHT_TRAINER_ADDRESS: "trainer:50053"
  INKWRIGHT_INFERENCE_ADDRESS: "inference:50054"
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: {name: gateway}
spec: {maxUnavailable: 1, selector: {matchLabels: {app.kubernetes.io/component: gateway}}}
---
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: gateway}
spec: {scaleTargetRef: {kind: Deployment, name: gateway}, minReplicas: 2, maxReplicas: 4}
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: inkwright}
spec: {rules: [{http: {paths: [{backend: {service: {name: gateway, port: {name: main}}}}]}}]}
"""
_PART = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: NAME}
spec:
  replicas: 1
  strategy: {type: Recreate}
  selector: {matchLabels: {app.kubernetes.io/component: NAME}}
  template:
    metadata: {labels: {app.kubernetes.io/component: NAME}}
    spec:
      serviceAccountName: inkwright
      automountServiceAccountToken: false
      terminationGracePeriodSeconds: 50
      securityContext: {runAsNonRoot: true, runAsUser: 10001, seccompProfile: {type: RuntimeDefault}}
      containers:
        - name: NAME
          image: inkwright/NAME:0.1.0
          command: [python, -m, MODULE]
          securityContext: {allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, capabilities: {drop: [ALL]}}
          envFrom: [{configMapRef: {name: settings}}]
          env:
            - {name: INKWRIGHT_UPPER_ADDRESS, value: "0.0.0.0:PORT"}
            - {name: NATS_TOKEN, valueFrom: {secretKeyRef: {name: inkwright, key: nats-token}}}
            - {name: INKWRIGHT_NATS_URL, value: "nats://$(NATS_TOKEN)@nats:4222"}
          ports: [{name: main, containerPort: PORT}]
          startupProbe: {grpc: {port: PORT}}
          livenessProbe: {grpc: {port: PORT}}
          readinessProbe: {httpGet: {path: /, port: main}}
          resources: {requests: {cpu: 1, memory: 1Gi}, limits: {memory: 1Gi}}
          volumeMounts:
            - {name: home, mountPath: /var/lib/inkwright}
            - {name: key, mountPath: /var/lib/inkwright/secret.key, subPath: secret.key}
            - {name: tmp, mountPath: /tmp}
      volumes:
        - {name: home, persistentVolumeClaim: {claimName: NAME}}
        - {name: key, secret: {secretName: inkwright, items: [{key: secret.key, path: secret.key}]}}
        - {name: tmp, emptyDir: {}}
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: NAME}
spec: {accessModes: [ReadWriteOnce]}
---
apiVersion: v1
kind: Service
metadata: {name: NAME}
spec: {selector: {app.kubernetes.io/component: NAME}, ports: [{name: main, port: PORT, targetPort: main}]}
"""


def installation() -> Manifests:
    """Every process once, a scaled gateway, policies for all."""
    documents = load(_COMMON)
    for name, port in PORTS.items():
        module = main_module(name) if name in SETTINGS else "json"
        text = _PART.replace("NAME", name).replace("UPPER", name.upper()).replace("PORT", str(port)).replace("MODULE", module)
        documents += load(text)
        documents.append(_policy(name))
    manifests = Manifests(documents)
    del manifests.of("Deployment")["gateway"]["spec"]["replicas"]
    manifests.of("PersistentVolumeClaim")["gateway"]["spec"]["accessModes"] = ["ReadWriteMany"]
    cluster = manifests.of("Deployment")["nats"]["spec"]["template"]["spec"]["containers"][0]["ports"]
    cluster.append({"name": "cluster", "containerPort": 6222})
    return manifests


def _policy(name: str) -> dict[str, object]:
    callers = [caller for caller, callees in CALLS.items() if name in callees]
    ingress = [{"from": [_peer(caller)], "ports": _ports(caller, name)} for caller in callers]
    egress = [{"to": [_peer(callee)], "ports": _ports(name, callee)} for callee in sorted(CALLS[name])]
    names = {"ports": [{"protocol": "UDP", "port": 53}]}
    spec = {"podSelector": _peer(name)["podSelector"], "policyTypes": ["Ingress", "Egress"], "ingress": ingress, "egress": [names, *egress]}
    return {"kind": "NetworkPolicy", "metadata": {"name": name}, "spec": spec}


def _peer(name: str) -> dict[str, dict[str, dict[str, str]]]:
    return {"podSelector": {"matchLabels": {"app.kubernetes.io/component": name}}}


def _ports(caller: str, callee: str) -> list[dict[str, object]]:
    port = 6222 if caller == callee == "nats" else PORTS[callee]
    return [{"protocol": "TCP", "port": port}, *([dict(INSTANCES)] if callee == "inference" else [])]
