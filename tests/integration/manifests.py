"""kinds.yaml, read: one valid object of each kind; and the questions, which are kinds nothing is stored of."""

import os
import re

import yaml

WORDS = {
    "POD": "{containers: [{name: c, image: i}]}",
    "TEMPLATE": "{metadata: {labels: {a: b}}, spec: {containers: [{name: c, image: i}]}}",
    "JOB": "{metadata: {labels: {a: b}}, spec: {restartPolicy: Never, containers: [{name: c, image: i}]}}",
    "RULES": "[{apiGroups: ['*'], apiVersions: ['*'], operations: [CREATE], resources: ['*/*']}]",
    "CLIENT": "{service: {namespace: default, name: hook}}",
    "SELECTOR": "{matchLabels: {a: b}}",
    "CSR": os.environ.get("KINDS_CSR") or "''",
}
with open(os.path.dirname(os.path.abspath(__file__)) + "/kinds.yaml") as f:
    MANIFESTS = yaml.safe_load(re.sub(r": (%s)\b" % "|".join(WORDS), lambda m: ": " + WORDS[m.group(1)], f.read()))

QUESTIONS = {
    "authentication.k8s.io/v1/selfsubjectreviews": {},
    "authentication.k8s.io/v1/tokenreviews": {"spec": {"token": "x"}},
    "authorization.k8s.io/v1/localsubjectaccessreviews": {
        "spec": {"user": "u", "resourceAttributes": {"namespace": "default", "verb": "get", "resource": "pods"}}
    },
    "authorization.k8s.io/v1/selfsubjectaccessreviews": {"spec": {"nonResourceAttributes": {"path": "/", "verb": "get"}}},
    "authorization.k8s.io/v1/selfsubjectrulesreviews": {"spec": {"namespace": "default"}},
    "authorization.k8s.io/v1/subjectaccessreviews": {
        "spec": {"user": "u", "nonResourceAttributes": {"path": "/", "verb": "get"}}
    },
}
