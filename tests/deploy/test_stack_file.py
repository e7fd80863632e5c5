"""The CloudFormation stack: deadlines that agree with the proxy, a role that may little, and its
creation on moto's server (marker ``long``).

moto knows no secrets, scaling policies or egress rules of CloudFormation: those are held to
botocore's own service models, which is what the API checks first.
"""

import ast
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import botocore.session
import httpx
import pytest
from botocore.validate import validate_parameters

from proxy.metrics.table import BY_NAME
from proxy.settings import Settings
from tests.deploy.shipped import DEPLOY, longest_leave, read, settings

FILE = DEPLOY / "cloudformation" / "ecs-fargate-alb.yaml"
TEMPLATE = read(FILE)
RESOURCES: dict[str, Any] = TEMPLATE["Resources"]
UNKNOWN_TO_MOTO = {
    "AWS::SecretsManager::Secret",
    "AWS::EC2::SecurityGroupEgress",
    "AWS::ApplicationAutoScaling::ScalableTarget",
    "AWS::ApplicationAutoScaling::ScalingPolicy",
}
ACCOUNT = "123456789012"


def properties(name: str) -> Any:
    return RESOURCES[name]["Properties"]


def attributes(name: str, key: str) -> dict[str, str]:
    return {one["Key"]: one["Value"] for one in properties(name)[key]}


def container(name: str) -> Any:
    return next(one for one in properties("Task")["ContainerDefinitions"] if one["Name"] == name)


def environment(name: str) -> dict[str, str]:
    """Of a container; a reference is its parameter's default."""
    found = {}
    for one in container(name)["Environment"]:
        value = one["Value"]
        if isinstance(value, dict) and "Ref" in value:
            value = TEMPLATE["Parameters"][value["Ref"]]["Default"]
        elif isinstance(value, dict) and "Fn::Sub" in value:
            value = value["Fn::Sub"]
        found[one["Name"]] = str(value)
    return found


def told() -> Settings:
    return settings({**environment("proxy"), "BEDROCK_PROXY_API_KEY": "k"})


def test_a_task_may_leave_in_the_time_it_is_given() -> None:
    stop = container("proxy")["StopTimeout"]
    assert longest_leave(told()) < stop <= 120, "Fargate allows 120 s"


def test_the_balancer_waits_longer_than_an_answer_and_less_than_the_proxy() -> None:
    idle = attributes("LoadBalancer", "LoadBalancerAttributes")["idle_timeout.timeout_seconds"]
    assert told().total_timeout < float(idle) < told().idle_timeout
    assert float(idle) <= 4000, "an ALB takes no more"


def test_ports_and_paths() -> None:
    proxy = told()
    (mapping,) = container("proxy")["PortMappings"]
    (target,) = properties("Service")["LoadBalancers"]
    ports = {mapping["ContainerPort"], target["ContainerPort"], properties("Targets")["Port"]}
    ports |= {properties("TasksFromLoadBalancer")["FromPort"]}
    ports |= {properties("LoadBalancerToTasks")["ToPort"]}
    assert ports == {proxy.port}
    assert properties("Targets")["HealthCheckPath"] == "/readyz"
    wanted = attributes("Targets", "TargetGroupAttributes")
    assert wanted["load_balancing.algorithm.type"] == "least_outstanding_requests"
    assert container("proxy")["HealthCheck"]["Command"][-1] == "/opt/healthcheck.py"


def test_the_agent_reads_what_the_policy_scales_on() -> None:
    agent = environment("agent")
    assert f'["127.0.0.1:{told().metrics_port}"]' in agent["PROMETHEUS_CONFIG_CONTENT"]
    assert told().metrics_host == "127.0.0.1", "of the task alone"
    told_agent = json.loads(agent["CW_CONFIG_CONTENT"])
    processor = told_agent["logs"]["metrics_collected"]["prometheus"]["emf_processor"]
    (declared,) = processor["metric_declaration"]
    asked = [
        one["MetricStat"]["Metric"]
        for one in scaling("ScaleOnStreams")["CustomizedMetricSpecification"]["Metrics"]
        if "MetricStat" in one
    ]
    exported = {one.exported for one in BY_NAME.values()}
    for metric in asked:
        assert metric["MetricName"] in exported
        assert metric["Namespace"] == processor["metric_namespace"]
        assert [[one["Name"] for one in metric["Dimensions"]]] == declared["dimensions"]
    (selector,) = declared["metric_selectors"]
    assert selector == "^bedrock_proxy_(streams_in_flight|stream_limit)$"
    assert {one["MetricName"] for one in asked} == {
        "bedrock_proxy_streams_in_flight", "bedrock_proxy_stream_limit",
    }  # fmt: skip


def scaling(name: str) -> Any:
    return properties(name)["TargetTrackingScalingPolicyConfiguration"]


def plain(tree: Any) -> Any:
    """Parameters by their defaults, anything else that is computed by a word."""
    if isinstance(tree, dict):
        if "Ref" in tree:
            return TEMPLATE["Parameters"].get(tree["Ref"], {}).get("Default", "proxy")
        if any(key.startswith("Fn::") for key in tree):
            return "proxy"
        return {key: plain(value) for key, value in tree.items()}
    return [plain(one) for one in tree] if isinstance(tree, list) else tree


def accepted(service: str, operation: str, parameters: dict[str, Any]) -> None:
    """Raises unless botocore's model of the service takes it."""
    model = botocore.session.get_session().get_service_model(service)
    shape = model.operation_model(operation).input_shape
    assert shape is not None
    validate_parameters(parameters, shape)


@pytest.mark.parametrize("name", ["ScaleOnStreams", "ScaleOnCpu"])
def test_the_scaling_api_takes_the_policies(name: str) -> None:
    accepted(
        "application-autoscaling",
        "PutScalingPolicy",
        {
            "PolicyName": properties(name)["PolicyName"],
            "PolicyType": properties(name)["PolicyType"],
            "ServiceNamespace": properties("Scaling")["ServiceNamespace"],
            "ScalableDimension": properties("Scaling")["ScalableDimension"],
            "ResourceId": "service/proxy/proxy",
            "TargetTrackingScalingPolicyConfiguration": plain(scaling(name)),
        },
    )


def test_the_task_role_may_call_models_and_list_them() -> None:
    from proxy.cli.policy import CALLS, LISTINGS

    policies = {one["PolicyName"]: one for one in properties("TaskRole")["Policies"]}
    statements = policies["bedrock"]["PolicyDocument"]["Statement"]
    actions = {
        action
        for one in statements
        for action in ([one["Action"]] if isinstance(one["Action"], str) else one["Action"])
    }
    assert actions == {*CALLS, *LISTINGS}
    assert [one["Sid"] for one in statements if one["Resource"] == "*"] == ["List"]


def test_the_key_is_made_there_and_only_read_at_the_start() -> None:
    assert container("proxy")["Secrets"] == [
        {"Name": "BEDROCK_PROXY_API_KEY", "ValueFrom": {"Ref": "ApiKey"}}
    ]
    (policy,) = properties("ExecutionRole")["Policies"]
    (read_it,) = policy["PolicyDocument"]["Statement"]
    assert read_it["Action"] == "secretsmanager:GetSecretValue"
    assert read_it["Resource"] == {"Ref": "ApiKey"}
    assert "secretsmanager" not in json.dumps(properties("TaskRole"))


@pytest.fixture(scope="module")
def moto() -> Iterator[str]:
    """The URL of a moto server in an environment of its own."""
    tools = os.environ.get("DEPLOY_TEST_TOOLS")
    sys.path.insert(0, str(DEPLOY))
    try:
        import validate
    finally:
        sys.path.remove(str(DEPLOY))
    try:
        program = validate.Toolbox(Path(tools) if tools else validate.TOOLS).path("moto_server")
    except validate.Missing as why:
        pytest.skip(f"moto cannot be installed: {why}")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = subprocess.Popen(
        [program, "-H", "127.0.0.1", "-p", str(port)],
        env={**os.environ, "MOTO_IAM_LOAD_MANAGED_POLICIES": "true"},
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    url = f"http://127.0.0.1:{port}"
    try:
        for _ in range(300):
            assert server.poll() is None, "moto's server ended"
            try:
                httpx.get(f"{url}/moto-api/data.json", timeout=5)
                break
            except httpx.TransportError:
                time.sleep(0.1)
        yield url
    finally:
        server.terminate()
        server.wait(10)


@pytest.mark.long
def test_the_stack_is_created_and_deleted(moto: str) -> None:
    def client(service: str) -> Any:
        return botocore.session.get_session().create_client(
            service, region_name="us-east-1", endpoint_url=moto,
            aws_access_key_id="AKIDEXAMPLE", aws_secret_access_key="secret",
        )  # fmt: skip

    network = client("ec2")
    vpc = network.describe_vpcs()["Vpcs"][0]["VpcId"]
    of_vpc = [{"Name": "vpc-id", "Values": [vpc]}]
    found = network.describe_subnets(Filters=of_vpc)["Subnets"][:2]
    subnets = ",".join(one["SubnetId"] for one in found)
    certificate = client("acm").request_certificate(DomainName="proxy.example.com")
    given = {
        "VpcId": vpc,
        "TaskSubnets": subnets,
        "LoadBalancerSubnets": subnets,
        "CertificateArn": certificate["CertificateArn"],
        "Image": "bedrock-openai-proxy:0.1.0",
    }
    stacks = client("cloudformation")
    stacks.create_stack(
        StackName="proxy",
        TemplateBody=FILE.read_text(encoding="utf-8"),
        Capabilities=["CAPABILITY_IAM"],
        Parameters=[{"ParameterKey": k, "ParameterValue": v} for k, v in given.items()],
    )
    (stack,) = stacks.describe_stacks(StackName="proxy")["Stacks"]
    assert stack["StackStatus"] == "CREATE_COMPLETE"
    made = stacks.list_stack_resources(StackName="proxy")["StackResourceSummaries"]
    expected = {n for n, one in RESOURCES.items() if one["Type"] not in UNKNOWN_TO_MOTO}
    assert {one["LogicalResourceId"] for one in made} - {""} == expected

    service = client("ecs")
    (cluster,) = service.list_clusters()["clusterArns"]
    (name,) = service.list_services(cluster=cluster)["serviceArns"]
    (running,) = service.describe_services(cluster=cluster, services=[name])["services"]
    assert running["desiredCount"] == 2
    task = service.describe_task_definition(taskDefinition=running["taskDefinition"])
    proxy, agent = task["taskDefinition"]["containerDefinitions"]
    assert (proxy["user"], proxy["readonlyRootFilesystem"]) == ("65532:65532", True)
    assert (proxy["essential"], agent["essential"]) == (True, False)

    roles = client("iam")
    role = next(one for one in made if one["LogicalResourceId"] == "TaskRole")
    policy = roles.get_role_policy(RoleName=role["PhysicalResourceId"], PolicyName="bedrock")
    document = ast.literal_eval(policy["PolicyDocument"])  # moto's way of writing it
    invoke = document["Statement"][0]
    assert invoke["Resource"] == [
        "arn:aws:bedrock:*::foundation-model/*",
        f"arn:aws:bedrock:*:{ACCOUNT}:inference-profile/*",
        f"arn:aws:bedrock:*:{ACCOUNT}:application-inference-profile/*",
    ]
    (balancer,) = client("elbv2").describe_load_balancers()["LoadBalancers"]
    assert balancer["Scheme"] == "internal"
    (listener,) = client("elbv2").describe_listeners(LoadBalancerArn=balancer["LoadBalancerArn"])[
        "Listeners"
    ]
    assert (listener["Protocol"], listener["Port"]) == ("HTTPS", 443)

    stacks.delete_stack(StackName="proxy")
    assert stacks.list_stacks()["StackSummaries"][0]["StackStatus"] == "DELETE_COMPLETE"
